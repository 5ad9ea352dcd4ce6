//! Passes the requests of the page to the admin socket, and the answers back.

use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName,
    HeaderValue, LOCATION, SET_COOKIE, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::guard::{Guard, Verdict};
use crate::cli::ctl::client::Admin;

/// As the admin socket takes.
const BODY_MAX: usize = 64 * 1024;

/// Headers of an answer that are about the connection to the admin socket, or ask for its token.
const OWN: [HeaderName; 4] = [
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    WWW_AUTHENTICATE,
];

type Answer = Response<Either<Full<Bytes>, Incoming>>;

pub(super) async fn respond(request: Request<Incoming>, guard: &Guard, admin: &Admin) -> Answer {
    let (head, body) = request.into_parts();
    let path = match guard.judge(&head) {
        Verdict::Refuse(why) => return error(StatusCode::FORBIDDEN, why),
        Verdict::Begin { cookie, page } => return begin(&cookie, &page),
        Verdict::Pass(path) => path,
    };
    if head.uri.query().is_some() || ![Method::GET, Method::POST].contains(&head.method) {
        return error(StatusCode::BAD_REQUEST, "the page sends no such request");
    }
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
    };
    match pass(&head.method, &path, body.to_bytes(), admin).await {
        Ok(answer) => answer,
        Err(why) => error(StatusCode::BAD_GATEWAY, &why),
    }
}

/// Nothing of the browser's request but method, path and body is passed on.
async fn pass(method: &Method, path: &str, body: Bytes, admin: &Admin) -> Result<Answer, String> {
    let (stream, host) = admin.connect().await?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(CONNECTION, "close");
    if let Some(token) = &admin.token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
    }
    if method == Method::POST {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let failed = |error: &(dyn std::error::Error + 'static)| admin.address.failed(error);
    let request = request.body(Full::new(body)).map_err(|e| failed(&e))?;
    let (mut sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(&e))?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let (mut head, body) = answer.into_parts();
    for name in OWN {
        head.headers.remove(name);
    }
    Ok(Response::from_parts(head, Either::Right(body)))
}

/// The page, for the browser that has the cookie from now on.
fn begin(cookie: &str, page: &str) -> Answer {
    let mut answer = error(StatusCode::SEE_OTHER, "the page has another address");
    for (name, value) in [(LOCATION, page), (SET_COOKIE, cookie)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

fn error(status: StatusCode, why: &str) -> Answer {
    let body = format!("{}\n", json!({ "error": why }));
    let mut answer = Response::new(Either::Left(Full::from(body)));
    *answer.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ] {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}
