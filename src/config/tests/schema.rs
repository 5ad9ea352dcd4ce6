//! The JSON Schema.

use super::super::schema;

#[test]
fn the_schema_knows_the_keys_that_are_read_and_no_others() {
    let schema = schema();
    let text = schema.to_string();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["patternProperties"]["^x-"].as_bool().unwrap());
    assert_eq!(
        schema["anyOf"][0]["required"],
        serde_json::json!(["endpoints", "upstreams"])
    );
    assert_eq!(schema["anyOf"][1]["required"], serde_json::json!(["fleet"]));
    let route = &schema["$defs"]["Route"];
    assert!(route["properties"]["match"]["description"].is_string());
    assert_eq!(
        schema["$defs"]["Connect"]["properties"]["attempts"]["default"],
        3
    );
    for later in ["\"shared\"", "when_stale"] {
        assert!(!text.contains(later), "{later}");
    }
    for found in text.split("#/$defs/").skip(1) {
        let name = found.split('"').next().unwrap();
        assert!(schema["$defs"].get(name).is_some(), "{name}");
    }
}

#[test]
fn defaults_in_the_schema_keep_their_type_and_their_leading_zeros() {
    let schema = schema();
    let admin = &schema["$defs"]["Admin"]["properties"];
    assert_eq!(admin["permissions"]["default"], "0600");
    let connect = &schema["$defs"]["Connect"]["properties"];
    assert_eq!(connect["attempts"]["default"], 3);
    let tcp = &schema["$defs"]["EndpointTcp"]["properties"];
    assert_eq!(tcp["nodelay"]["default"], true);
    assert_eq!(
        schema["$defs"]["EndpointTls"]["properties"]["min_version"]["default"],
        "1.2"
    );
}

#[test]
fn the_schema_has_an_identifier_with_the_version() {
    let id = schema()["$id"].as_str().unwrap().to_owned();
    assert_eq!(
        id,
        format!("urn:reseal:schema:config:{}", env!("CARGO_PKG_VERSION"))
    );
}
