//! Text from data, made harmless: in HTML's text and attributes, in a URL's path, and in a script element.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// Text that may stand between tags and in quoted attributes.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // HTML has no control characters; one would end up as another or as none.
                control if control.is_control() && !matches!(control, '\n' | '\t') => f.write_char('\u{fffd}')?,
                // Those that turn the direction of text would turn what stands after it, too.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Where ADS shows a paper. All but RFC 3986's unreserved characters is percent-encoded: many a bibcode has an `&`.
pub fn ads_address(bibcode: &str) -> String {
    let mut address = "https://ui.adsabs.harvard.edu/abs/".to_owned();
    for byte in bibcode.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => address.push(char::from(byte)),
            other => address.push_str(&format!("%{other:02X}")),
        }
    }
    address
}

/// JSON for a script element: without `<`, nothing in it can end the element or begin a comment.
pub fn json(value: &impl Serialize) -> String {
    let plain = serde_json::to_string(value).expect("plain data, with strings for keys, has a JSON form");
    plain.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_html_is_written_out() {
        let text = Escaped("H<sub>2</sub>O & \"x\" 'y'\u{0}\u{1b}\u{202e}é✓").to_string();
        assert_eq!(text, "H&lt;sub&gt;2&lt;/sub&gt;O &amp; &quot;x&quot; &#39;y&#39;\u{fffd}\u{fffd}\u{fffd}é✓");
    }

    #[test]
    fn an_ampersand_in_a_bibcode_does_not_end_it() {
        assert_eq!(ads_address("2010A&A...511A..18C"), "https://ui.adsabs.harvard.edu/abs/2010A%26A...511A..18C");
        assert_eq!(ads_address("é/\"?#"), "https://ui.adsabs.harvard.edu/abs/%C3%A9%2F%22%3F%23");
    }

    #[test]
    fn json_does_not_end_its_element() {
        let written = json(&"</script><!--");
        assert!(!written.contains('<'));
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), "</script><!--");
    }
}
