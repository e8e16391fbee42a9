//! A strict reader of the HTML that reports are written in: it stops at whatever a browser would have to put right.

use std::collections::BTreeMap;

/// What a page is made of.
#[derive(Default)]
pub struct Markup {
    /// How often each element is there.
    pub tags: BTreeMap<String, usize>,
    /// Each id, with the `data-value` beside it.
    pub ids: BTreeMap<String, Option<String>>,
    /// The ids that other elements name.
    pub links: Vec<String>,
    /// What `href` and `src` say.
    pub addresses: Vec<String>,
    /// What stands in the element with the id `data`.
    pub data: String,
}

/// Reads a page.
pub fn read(html: &str) -> Markup {
    let mut page = Markup::default();
    let mut open: Vec<String> = Vec::new();
    let mut rest = html.strip_prefix("<!doctype html>").expect("a page says what it is");
    while let Some(at) = rest.find('<') {
        text(&rest[..at]);
        let tag = &rest[at + 1..end(rest, at)];
        rest = &rest[end(rest, at) + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        let (name, attributes) = parts(tag.trim_end_matches('/'));
        page.take(name, &attributes);
        if name == "script" || name == "style" {
            let close = rest.find(&format!("</{name}")).expect("a script ends");
            if attributes.get("id").is_some_and(|id| id == "data") {
                rest[..close].clone_into(&mut page.data);
            }
            rest = &rest[close..];
        }
        if !tag.ends_with('/') && !matches!(name, "meta" | "link" | "input") {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "{open:?} do not end");
    page
}

/// Where the tag ends that begins at `at`; a `>` in quotes does not end it.
fn end(html: &str, at: usize) -> usize {
    let mut quoted = false;
    let close = html[at..].find(|c| {
        quoted ^= c == '"';
        c == '>' && !quoted
    });
    at + close.expect("a tag ends")
}

/// Text has no `>`, and each `&` begins an entity that reports are written with.
fn text(text: &str) {
    assert!(!text.contains('>'), "{text}");
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().any(|entity| text[at..].starts_with(entity));
        assert!(known, "{}", &text[at..]);
    }
}

fn parts(tag: &str) -> (&str, BTreeMap<String, String>) {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "<{tag}>");
    let mut attributes = BTreeMap::new();
    while !rest.trim().is_empty() {
        rest = rest.trim_start();
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
        let key = &rest[..length];
        assert!(!key.is_empty() && !key.starts_with("on"), "<{tag}>");
        rest = &rest[length..];
        let mut value = "";
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let close = quoted.find('"').expect("a value ends");
            (value, rest) = (&quoted[..close], &quoted[close + 1..]);
            text(value);
            assert!(!value.contains('<'), "<{tag}>");
        }
        assert!(attributes.insert(key.to_owned(), value.to_owned()).is_none(), "twice {key} in <{tag}>");
    }
    (name, attributes)
}

impl Markup {
    fn take(&mut self, name: &str, attributes: &BTreeMap<String, String>) {
        *self.tags.entry(name.to_owned()).or_default() += 1;
        if let Some(id) = attributes.get("id") {
            let value = attributes.get("data-value").cloned();
            assert!(self.ids.insert(id.clone(), value).is_none(), "two elements are {id}");
        }
        self.links.extend(attributes.get("aria-labelledby").cloned());
        for address in ["href", "src"].into_iter().filter_map(|key| attributes.get(key)) {
            self.links.extend(address.strip_prefix('#').map(str::to_owned));
            self.addresses.push(address.clone());
        }
    }
}
