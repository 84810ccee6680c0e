//! HTML markup. All text goes through one escape function, and the result is also well-formed
//! XML.
use std::fmt::Write;

use crate::model::sanitize;

/// Elements that have no end tag in HTML, and elements of SVG, where an empty element may
/// end in `/>`.
const EMPTY_ELEMENTS: [&str; 3] = ["meta", "line", "path"];

/// A piece of markup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Html(String);

impl Html {
    /// Returns text with special characters escaped and control characters replaced.
    pub(super) fn text(text: &str) -> Self {
        Self(escape(text))
    }

    /// Returns an element with attributes and content.
    pub(super) fn element(
        name: &'static str,
        attributes: &[(&'static str, &str)],
        content: impl IntoIterator<Item = Self>,
    ) -> Self {
        let mut markup = format!("<{name}");
        for (attribute, value) in attributes {
            let _ = write!(markup, " {attribute}=\"{}\"", escape(value));
        }
        let content: String = content.into_iter().map(|Self(markup)| markup).collect();
        if content.is_empty() && EMPTY_ELEMENTS.contains(&name) {
            markup += "/>";
        } else {
            let _ = write!(markup, ">{content}</{name}>");
        }
        Self(markup)
    }

    /// Returns an element that contains only text.
    pub(super) fn text_element(name: &'static str, text: &str) -> Self {
        Self::element(name, &[], [Self::text(text)])
    }

    /// Returns the markup with a line end.
    pub(super) fn line(self) -> Self {
        Self(self.0 + "\n")
    }

    /// Returns the markup as a document.
    pub(super) fn into_document(self) -> String {
        format!("<!DOCTYPE html>\n{}\n", self.0)
    }
}

/// Returns untrusted text as the text of an element or as the value of an attribute in
/// quotation marks.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in sanitize::printable(text).chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_are_escaped() {
        let hostile = "</title><script>alert('1')</script>\"&amp;\n\u{202e}\0]]>";
        let escaped = "&lt;/title&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;\
                       &amp;amp; ??]]&gt;";
        let element = Html::element("td", &[("title", hostile)], [Html::text(hostile)]);
        assert_eq!(element.0, format!("<td title=\"{escaped}\">{escaped}</td>"));
    }

    #[test]
    fn empty_elements_are_html_and_xml() {
        assert_eq!(Html::element("td", &[], []).0, "<td></td>");
        assert_eq!(Html::element("path", &[("d", "M0 0")], []).0, "<path d=\"M0 0\"/>");
        assert_eq!(
            Html::text_element("p", "a").line().into_document(),
            "<!DOCTYPE html>\n<p>a</p>\n\n"
        );
    }
}
