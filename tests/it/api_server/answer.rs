//! Answers, right ones and wrong ones: vectors from texts, and how each fault spoils them.

use std::future::pending;
use std::io;
use std::iter;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::asked::{Asked, Refusal};
use super::script::{Fault, RetryAfter, Script};
use super::wire::Cut;

/// Long enough for what was written before to have left.
const BEFORE_THE_CUT: Duration = Duration::from_millis(30);

/// The one right vector of a text, of length 1: from the extended output of its BLAKE3. A shorter one is the start of a
/// longer one, normalised again.
pub fn vector(text: &str, dim: usize) -> Vec<f32> {
    let mut bytes = vec![0; 4 * dim];
    blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut bytes);
    let component = |bytes: &[u8]| f64::from(i32::from_le_bytes(bytes.try_into().unwrap())) / 2_f64.powi(31);
    let components: Vec<f64> = bytes.chunks_exact(4).map(component).collect();
    let length = components.iter().map(|component| component * component).sum::<f64>().sqrt();
    components.iter().map(|component| (component / length) as f32).collect()
}

/// The body of an answer, spoilt by `fault` where that is about the content.
pub fn embeddings(asked: &Asked, script: &Script, fault: Option<&Fault>) -> Value {
    let dim = asked.dim + usize::from(fault == Some(&Fault::WrongDim));
    let mut vectors: Vec<_> = asked.texts.iter().map(|text| vector(text, dim)).collect();
    let last = vectors.last_mut().unwrap();
    match fault {
        Some(Fault::Nan) => last[0] = f32::NAN,
        Some(Fault::ZeroVector) => last.fill(0.0),
        _ => {}
    }
    let written = |vector: &[f32]| if asked.base64 { base64(vector) } else { json!(vector) };
    let item = |(index, vector): (usize, &Vec<f32>)| json!({ "object": "embedding", "index": index, "embedding": written(vector) });
    let mut data: Vec<Value> = vectors.iter().enumerate().map(item).collect();
    match fault {
        Some(Fault::WrongCount) => drop(data.pop()),
        Some(Fault::ShuffledIndices) => data.reverse(),
        Some(Fault::DuplicateIndex) if data.len() == 1 => data.push(data[0].clone()),
        Some(Fault::DuplicateIndex) => data.last_mut().unwrap()["index"] = 0.into(),
        _ => {}
    }
    let model = if fault == Some(&Fault::WrongModel) { "another-model" } else { &script.model };
    let mut body = json!({ "object": "list", "data": data, "model": model });
    if !script.omits_usage {
        let billed = asked.tokens * script.billed_for_one;
        body["usage"] = json!({ "prompt_tokens": billed, "total_tokens": billed });
    }
    body
}

/// Whether an answer with this fault is right all the same.
pub fn is_right(fault: Option<&Fault>) -> bool {
    matches!(fault, None | Some(Fault::Slow(_) | Fault::ShuffledIndices))
}

/// Little-endian, as the API writes them.
fn base64(vector: &[f32]) -> Value {
    let bytes: Vec<u8> = vector.iter().flat_map(|component| component.to_le_bytes()).collect();
    STANDARD.encode(bytes).into()
}

/// The answer of a fault that needs no processing, or `None` for the others.
pub async fn unprocessed(fault: &Fault, cut: &Cut) -> Option<Response> {
    Some(match fault {
        Fault::TooMany { retry_after } => too_many(*retry_after),
        Fault::Status(status) => {
            let message = format!("The server answers {status}, as it was told.");
            Refusal { status: *status, code: None, param: None, message }.into_response()
        }
        Fault::HtmlPage(status) if *status >= 400 => page(*status),
        Fault::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to.clone())]).into_response(),
        Fault::Hang => pending().await,
        Fault::Disconnect => {
            cut.cut();
            StatusCode::OK.into_response()
        }
        _ => return None,
    })
}

/// The answer to what was processed.
pub fn processed(fault: Option<&Fault>, body: &Value) -> Response {
    let mut body = body.to_string().into_bytes();
    let (whole, half) = (body.len(), body.len() / 2);
    let body = match fault {
        Some(Fault::HtmlPage(status)) => return page(*status),
        Some(Fault::CutMidBody) => {
            body.truncate(half);
            let cut = stream::once(async {
                tokio::time::sleep(BEFORE_THE_CUT).await;
                Err(io::ErrorKind::ConnectionAborted.into())
            });
            let cut: stream::BoxStream<'_, io::Result<Bytes>> = cut.boxed();
            let mut response =
                json_response(Body::from_stream(stream::once(async { Ok(Bytes::from(body)) }).chain(cut)));
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(whole));
            return response;
        }
        Some(Fault::TruncatedJson) => {
            body.truncate(half);
            Body::from(body)
        }
        Some(Fault::HugeBody) => {
            let (start, spaces) = (Bytes::from(r#"{"object":"list","data":["#), Bytes::from(vec![b' '; 1 << 16]));
            let pieces = iter::once(start).chain(iter::repeat(spaces));
            Body::from_stream(stream::iter(pieces.map(io::Result::Ok)))
        }
        _ => Body::from(body),
    };
    json_response(body)
}

fn json_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn page(status: u16) -> Response {
    let page =
        format!("<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>");
    let kind = [(header::CONTENT_TYPE, "text/html")];
    (StatusCode::from_u16(status).unwrap(), kind, page).into_response()
}

fn too_many(retry_after: Option<RetryAfter>) -> Response {
    let message = "Rate limit reached, as the server was told.".to_owned();
    let refusal = Refusal { status: 429, code: Some("rate_limit_exceeded"), param: None, message };
    let mut response = refusal.into_response();
    let headers = response.headers_mut();
    match retry_after {
        None => {}
        Some(RetryAfter::Seconds(seconds)) => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds))),
        Some(RetryAfter::Millis(millis)) => drop(headers.insert("retry-after-ms", HeaderValue::from(millis))),
        Some(RetryAfter::Date(seconds)) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
            headers.insert(header::DATE, http_date(now));
            headers.insert(header::RETRY_AFTER, http_date(now + seconds));
        }
    }
    response
}

/// Seconds since 1970 as HTTP writes dates.
fn http_date(seconds: u64) -> HeaderValue {
    let date = DateTime::from_timestamp_secs(seconds.cast_signed()).unwrap();
    HeaderValue::try_from(date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()).unwrap()
}
