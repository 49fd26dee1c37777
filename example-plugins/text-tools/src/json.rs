//! The tool `json_query`.

use aih_plugin::{
    Error, Json, Result, arguments,
    serde_json::{self, Value},
    structured, tool,
};
use serde_json_path::JsonPath;

/// Values that are given if the caller names no limit, and at most.
const VALUES: (usize, usize) = (100, 10_000);

#[arguments]
pub struct QueryArguments {
    /// The JSON document as text.
    json: String,
    /// A JSONPath query as RFC 9535 has it, such as `$.items[?@.price < 10].name`. Functions: length, count,
    /// value.
    query: String,
    /// At most this many values, up to 10,000; 100 if left out.
    limit: Option<usize>,
}

#[structured]
pub struct QueryResult {
    /// What the query found, in the order of the document.
    values: Vec<Value>,
    /// How many values the query found, with those beyond the limit.
    found: usize,
}

/// Finds values in a JSON document with a JSONPath query (RFC 9535).
#[tool(title = "Query JSON", read_only, idempotent, open_world = false)]
pub async fn json_query(args: QueryArguments) -> Result<Json<QueryResult>> {
    let document: Value = serde_json::from_str(&args.json)
        .map_err(|error| Error::invalid_arguments(format!("`json` is no JSON: {error}")))?;
    let query = JsonPath::parse(&args.query)
        .map_err(|error| Error::invalid_arguments(format!("`query` is no JSONPath: {error}")))?;
    let values = query.query(&document).all();
    let limit = args.limit.unwrap_or(VALUES.0).min(VALUES.1);
    Ok(Json(QueryResult {
        found: values.len(),
        values: values.into_iter().take(limit).cloned().collect(),
    }))
}

#[cfg(test)]
mod tests {
    use aih_plugin::{serde_json::json, testing::block_on};

    use super::*;

    fn run(document: &Value, query: &str) -> Result<QueryResult> {
        let args = QueryArguments {
            json: document.to_string(),
            query: query.into(),
            limit: Some(2),
        };
        block_on(json_query(args)).map(|json| json.0)
    }

    #[test]
    fn a_filter_with_a_function() {
        let document = json!({"items": [{"n": "a", "t": [1, 2]}, {"n": "b", "t": []}, {"n": "c", "t": [1]}]});
        let result = run(&document, "$.items[?length(@.t) > 0].n").unwrap();
        assert_eq!((result.values, result.found), (vec![json!("a"), json!("c")], 2));
    }

    #[test]
    fn the_limit_is_kept_and_the_rest_counted() {
        let result = run(&json!([1, 2, 3]), "$[*]").unwrap();
        assert_eq!((result.values.len(), result.found), (2, 3));
    }

    #[test]
    fn a_wrong_query_says_where() {
        let error = run(&json!({}), "$.[").err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("`query` is no JSONPath: at position"),
            "{error}"
        );
    }
}
