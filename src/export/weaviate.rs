//! A collection of a Weaviate server, over its REST interface: <https://docs.weaviate.io/weaviate/api/rest>.

use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::ExportError;
use super::http::Server;
use super::server::{Collection, Found, Point};

/// A collection whose vectors come with its objects.
pub struct Weaviate {
    server: Server,
    name: String,
}

impl Weaviate {
    /// A collection of this name.
    pub fn new(url: &str, key: Option<&str>, name: String) -> Self {
        Self { server: Server::new(url, key.map(|key| ("authorization", format!("Bearer {key}")))), name }
    }

    fn other(&self, reason: String) -> ExportError {
        ExportError::Collection { url: self.server.url().to_owned(), collection: self.name.clone(), reason }
    }

    /// The fault of an answer that Weaviate does not give: a proxy's login page, for one.
    fn unlike(&self, answer: &Value) -> ExportError {
        self.other(format!("it does not answer as Weaviate does: {}", self.server.short(answer)))
    }

    fn must(&mut self, method: &Method, path: &str, body: &Value) -> Result<Value, ExportError> {
        let answer = self.server.ask(method, path, Some(body))?;
        answer.ok_or_else(|| self.other(format!("the server knows no {path} (404): look at the address")))
    }
}

impl Collection for Weaviate {
    fn prepare(&mut self, _: usize, fields: &[String]) -> Result<Found, ExportError> {
        let found = self.server.ask(&Method::GET, &format!("/v1/schema/{}", self.name), None)?;
        if let Some(found) = found {
            let is_it = found["class"] == self.name.as_str();
            return if is_it { Ok(Found::There) } else { Err(self.unlike(&found)) };
        }
        let whole = |name: &str| json!({ "name": name, "dataType": ["text"], "tokenization": "field" });
        let mut properties: Vec<Value> = ["bibcode", "dataset", "set"].map(whole).into();
        properties.extend(fields.iter().map(|field| json!({ "name": property(field), "dataType": ["text[]"] })));
        let made = json!({ "class": self.name, "vectorizer": "none", "properties": properties });
        let answer = self.must(&Method::POST, "/v1/schema", &made)?;
        if answer["class"] == self.name.as_str() { Ok(Found::Made) } else { Err(self.unlike(&answer)) }
    }

    fn upsert(&mut self, points: Vec<Point>) -> Result<(), ExportError> {
        let object = |Point { id, vector, properties }| {
            let named = |(name, value): (&String, &Value)| (property(name), value.clone());
            let properties: Map<String, Value> = properties.as_object().into_iter().flatten().map(named).collect();
            json!({ "class": self.name, "id": id, "vector": vector, "properties": properties })
        };
        let objects: Vec<Value> = points.into_iter().map(object).collect();
        let sent = objects.len();
        let answer = self.must(&Method::POST, "/v1/batch/objects", &json!({ "objects": objects }))?;
        // A batch is answered with 200, whatever became of its objects.
        let told = answer.as_array().filter(|told| told.len() == sent).ok_or_else(|| self.unlike(&answer))?;
        let refused = told.iter().find(|object| object["result"]["status"] != "SUCCESS");
        match refused.map(|object| object.pointer("/result/errors/error/0/message").and_then(Value::as_str)) {
            Some(Some(message)) => Err(self.other(format!("it did not take an object: {message}"))),
            Some(None) => Err(self.unlike(&answer)),
            None => Ok(()),
        }
    }

    fn remove_others(&mut self, dataset: &str, set: &str) -> Result<(), ExportError> {
        let is =
            |path: &str, operator: &str, text: &str| json!({ "path": [path], "operator": operator, "valueText": text });
        let others = [is("dataset", "Equal", dataset), is("set", "NotEqual", set)];
        let matching = json!({ "class": self.name, "where": { "operator": "And", "operands": others } });
        // A request removes so many objects at most, and tells how many it found.
        loop {
            let request = json!({ "match": matching, "output": "minimal" });
            let answer = self.must(&Method::DELETE, "/v1/batch/objects", &request)?;
            let count = |name: &str| answer.pointer(&format!("/results/{name}")).and_then(Value::as_u64).unwrap_or(0);
            if answer.pointer("/results/matches").is_none() {
                return Err(self.unlike(&answer));
            }
            let (matches, removed) = (count("matches"), count("successful"));
            if matches <= removed {
                return Ok(());
            }
            if removed == 0 {
                return Err(self.other(format!("{matches} objects of another set could not be removed")));
            }
        }
    }

    fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// A field's name as Weaviate wants it: letters, digits and `_`.
fn property(field: &str) -> String {
    field.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
