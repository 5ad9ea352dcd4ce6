//! Documents and the commands of an operator.

use std::fs;
use std::thread;

use super::{Fleet, echoed, plain, terminating};
use crate::harness::{Origin, eventually, noise};

#[test]
fn a_push_carries_the_files_that_the_document_names_and_seals_them() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    let id = fleet.push(&terminating(&fleet, &origin));
    // An instance has the files from the store alone.
    fs::remove_dir_all(fleet.directory.join("certs")).unwrap();
    fleet.run(&["status", "--wait"]).must_exit_with(0);
    fleet.serves("edge-1", &id);
    assert!(echoed(&instance.new_listen_addr("edge")));
    // Neither the store nor the disk of the instance has the key in clear.
    let all = fleet
        .ask("/v3/kv/range", r#"{"key":"AA==","range_end":"AA=="}"#)
        .to_string();
    let cache = fs::read(instance.directory().join("cache/document.sealed")).unwrap();
    // "PRIVATE KEY" in base64, at each of its three places in a group.
    for part in ["UFJJVkFURSBLRV", "QUklWQVRFIEtF", "BSSVZBVEUgS0VZ"] {
        assert!(!all.contains(part));
    }
    assert!(!cache.windows(11).any(|part| part == b"PRIVATE KEY"));
}

#[test]
fn absolute_paths_and_directories_of_pairs_are_carried() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    terminating(&fleet, &origin);
    let certs = fleet.directory.join("certs");
    let document = plain(&origin).replace(
        "protocol: tcp\n    routes: [{ name: all, mode: forward, upstream: web }]",
        &format!(
            "tls: {{ certificates: [{{ dir: {} }}] }}\n    \
             routes: [{{ name: all, match: {{ sni: a.test }}, mode: terminate, upstream: web }}]",
            certs.display()
        ),
    );
    let id = fleet.push(&document);
    fs::remove_dir_all(certs).unwrap();
    fleet.serves("edge-1", &id);
    assert!(echoed(&instance.new_listen_addr("edge")));
}

#[test]
fn a_broken_document_exits_with_its_place_and_moves_nothing() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let good = plain(&origin);
    let id = fleet.push(&good);
    let no_file = terminating(&fleet, &origin).replace("certs/edge.pem", "certs/none.pem");
    for (text, place, what) in [
        (
            good.replace("upstream: web", "upstream: wbe"),
            "broken.yaml:5:",
            "wbe",
        ),
        (
            good.replace("mode: forward", "mode: foward"),
            "broken.yaml:5:",
            "foward",
        ),
        (no_file, "broken.yaml:4:", "none.pem"),
        ("endpoints: [".to_owned(), "broken.yaml:1:", ""),
    ] {
        fleet.directory.write("broken.yaml", &text);
        let pushed = fleet.run(&["push", "broken.yaml"]);
        pushed.must_exit_with(1).must_print(place).must_print(what);
    }
    let history = fleet.run(&["history"]);
    history.must_exit_with(0).must_print(&id);
    assert_eq!(history.stdout.lines().count(), 2, "{}", history.text());
}

#[test]
fn local_keys_cannot_come_from_a_document() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    for key in [
        "process: { workers: 1 }",
        "log: { level: debug }",
        "access_log: { output: none }",
        "admin: { metrics: 127.0.0.1:9 }",
        "acme: {}",
        "fleet: { etcd: { endpoints: [\"http://127.0.0.1:1\"] }, cache: c, seal_key: k }",
    ] {
        let name = key.split(':').next().unwrap();
        fleet
            .directory
            .write("local.yaml", format!("{key}\n{}", plain(&origin)));
        let pushed = fleet.run(&["push", "local.yaml"]);
        pushed
            .must_exit_with(1)
            .must_print("local.yaml:1:1")
            .must_print(&format!("`{name}` is not for the document of a fleet"));
    }
    fleet.run(&["history"]).must_exit_with(0);
}

#[test]
fn the_fleet_is_found_by_flag_variable_or_directory() {
    let fleet = Fleet::new();
    fleet.run(&["history"]).must_exit_with(0);
    let file = fleet.directory.join("config.yaml").display().to_string();
    let run = |arguments: &[&str], variable: Option<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_reseal"));
        command
            .arg("fleet")
            .args(arguments)
            .current_dir("/")
            .env_remove("RESEAL_CONFIG");
        command.envs(variable.map(|file| ("RESEAL_CONFIG", file)));
        crate::harness::finish(command, b"")
    };
    run(&["history", "--config", &file], None).must_exit_with(0);
    run(&["history"], Some(&file)).must_exit_with(0);
    let other = fleet.directory.write("other.yaml", plain(&Origin::echo()));
    let other = other.display().to_string();
    let without = run(&["history", "--config", &other], None);
    without.must_exit_with(2).must_print("`fleet:` block");
}

#[test]
fn of_two_pushes_from_the_same_base_exactly_one_wins() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    fleet.push(&plain(&origin));
    // Reading it takes a while, so that both have begun before one ends.
    let (text, padding) = (plain(&origin), "# padding\n".repeat(200_000));
    let files = ["one.yaml", "two.yaml"];
    for file in files {
        fleet.directory.write(file, format!("{text}{padding}"));
    }
    let fleet = &fleet;
    let results = thread::scope(|scope| {
        let pushes = files.map(|file| scope.spawn(move || fleet.run(&["push", file])));
        pushes.map(|push| push.join().unwrap())
    });
    let wins = results
        .iter()
        .filter(|result| result.code == Some(0))
        .count();
    let lost = results.iter().find(|result| result.code != Some(0));
    // A machine that runs one after the other has shown nothing.
    if let Some(lost) = lost {
        assert_eq!(wins, 1, "{}", lost.text());
        lost.must_exit_with(1).must_print("nothing was moved");
        let history = fleet.run(&["history", "--json"]);
        let history: serde_json::Value = serde_json::from_str(&history.stdout).unwrap();
        assert_eq!(history.as_array().unwrap().len(), 2, "{history}");
    }
}

#[test]
fn rollback_moves_back_and_to_a_generation_by_name() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    fleet
        .run(&["rollback"])
        .must_exit_with(1)
        .must_print("nothing was pushed yet");
    let _instance = fleet.instance("edge-1");
    let text = plain(&origin);
    let first = fleet.push(&text);
    let second = fleet.push(&format!("{text}x-second: true\n"));
    fleet.serves("edge-1", &second);
    fleet
        .run(&["rollback"])
        .must_exit_with(0)
        .must_print(&first);
    fleet.serves("edge-1", &first);
    fleet
        .run(&["rollback"])
        .must_exit_with(1)
        .must_print("no generation before");
    fleet
        .run(&["rollback", &second])
        .must_exit_with(0)
        .must_print(&second);
    fleet.serves("edge-1", &second);
    fleet
        .run(&["rollback", "nonsense"])
        .must_exit_with(1)
        .must_print("no generation nonsense");
}

#[test]
fn diff_shows_lines_and_names_of_files_and_no_content() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let text = terminating(&fleet, &origin);
    fleet.push(&text);
    let same = fleet.run(&["diff", "document.yaml"]);
    same.must_exit_with(0).must_print("no difference");
    terminating(&fleet, &origin);
    fleet
        .directory
        .write("document.yaml", text.replace("name: all", "name: every"));
    let diff = fleet.run(&["diff", "document.yaml"]);
    diff.must_exit_with(0)
        .must_print("name: every")
        .must_print("file changed: fleet:/certs/edge.key");
    assert!(!diff.text().contains("PRIVATE"), "{}", diff.text());
    let history = fleet.run(&["history", "--json"]);
    let history: serde_json::Value = serde_json::from_str(&history.stdout).unwrap();
    assert_eq!(history[0]["wanted"], true);
}

#[test]
fn a_document_larger_than_a_request_of_etcd_arrives_whole() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let _instance = fleet.instance("edge-1");
    let text = plain(&origin);
    let digits = noise(3_000_000, 5);
    let digits = digits.iter().map(|byte| char::from(b'a' + byte % 26));
    let id = fleet.push(&format!("{text}# {}\n", digits.collect::<String>()));
    fleet.serves("edge-1", &id);
}

#[test]
fn a_push_works_after_the_prefix_was_wiped() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    let text = terminating(&fleet, &origin);
    let first = fleet.push(&text);
    fleet.serves("edge-1", &first);
    let place = instance.new_listen_addr("edge");
    fleet.wipe();
    instance.log_line(|line| line.contains("the fleet's store has no document"));
    assert!(echoed(&place));
    eventually("it says again what it has", || {
        fleet.state("edge-1")["generation"] == first
    });
    let second = fleet.push(&text);
    fleet.serves("edge-1", &second);
    assert!(echoed(&place));
}
