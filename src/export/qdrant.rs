//! A collection of a Qdrant server, over its REST interface: <https://api.qdrant.tech/api-reference>.

use serde_json::{Value, json};
use ureq::http::Method;

use super::ExportError;
use super::http::{Server, escaped};
use super::server::{Collection, Found, Point};

/// What is said of a path that the server does not know.
const NOT_FOUND: &str =
    "the server answers that there is no such thing (404): look at the address, and whether somebody removes it";

/// A collection with one unnamed vector a point.
pub struct Qdrant {
    server: Server,
    name: String,
}

impl Qdrant {
    /// A collection of this name.
    pub fn new(url: &str, key: Option<&str>, name: String) -> Self {
        Self { server: Server::new(url, key.map(|key| ("api-key", key.to_owned()))), name }
    }

    fn path(&self, rest: &str) -> String {
        format!("/collections/{}{rest}", escaped(&self.name))
    }

    fn other(&self, reason: String) -> ExportError {
        ExportError::Collection { url: self.server.url().to_owned(), collection: self.name.clone(), reason }
    }

    fn must(&mut self, method: &Method, path: &str, body: &Value) -> Result<Value, ExportError> {
        let answer = self.server.ask(method, path, Some(body))?.ok_or_else(|| self.other(NOT_FOUND.to_owned()))?;
        // What answers so friendly may be anything: a proxy's login page, for one.
        if answer["status"] == "ok" {
            Ok(answer)
        } else {
            Err(self.other(format!("it does not answer as Qdrant does: {}", self.server.short(&answer))))
        }
    }
}

impl Collection for Qdrant {
    fn prepare(&mut self, dim: usize, _: &[String]) -> Result<Found, ExportError> {
        let path = self.path("");
        match self.server.ask(&Method::GET, &path, None)? {
            Some(found) => match found.pointer("/result/config/params/vectors/size").and_then(Value::as_u64) {
                Some(size) if size == dim as u64 => Ok(Found::There),
                Some(size) => {
                    Err(self.other(format!("its vectors have {size} components, those of the dataset {dim}")))
                }
                None => Err(self.other("its points have no single unnamed vector".to_owned())),
            },
            None => {
                let made = json!({ "vectors": { "size": dim, "distance": "Cosine" } });
                self.must(&Method::PUT, &path, &made).map(|_| Found::Made)
            }
        }
    }

    fn upsert(&mut self, points: Vec<Point>) -> Result<(), ExportError> {
        let points: Vec<Value> = points
            .into_iter()
            .map(|Point { id, vector, properties }| json!({ "id": id.to_string(), "vector": vector, "payload": properties }))
            .collect();
        self.must(&Method::PUT, &self.path("/points?wait=true"), &json!({ "points": points })).map(drop)
    }

    fn remove_others(&mut self, dataset: &str, set: &str) -> Result<(), ExportError> {
        let filter = json!({ "filter": {
            "must": [{ "key": "dataset", "match": { "value": dataset } }],
            "must_not": [{ "key": "set", "match": { "value": set } }],
        } });
        self.must(&Method::POST, &self.path("/points/delete?wait=true"), &filter).map(drop)
    }

    fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}
