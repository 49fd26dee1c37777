//! What the attributes make of functions and types, as a plugin's author sees it.

#![allow(dead_code, reason = "a tool whose name is what is tried")]

use aih_plugin::{
    Content, Context, Error, Event, IntoOutput as _, Json, Outcome, Output, Result, Tool, arguments, hook,
    http, plugin, secrets,
    serde_json::{Value, json},
    structured,
    testing::{self, Fake, block_on},
    tool,
    wit::types::{Content as Block, Failure},
};

#[arguments]
struct Search {
    /// What to look for.
    query: String,
    /// How many at most.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u8>,
}

#[structured]
struct Found {
    /// Where it is.
    places: Vec<Place>,
}

#[structured]
struct Place {
    line: u32,
}

/// Looks for something.
///
/// Slowly.
#[tool(title = "Search", read_only, destructive = false)]
async fn search(args: Search, call: Context) -> Result<Json<Found>> {
    if args.query.is_empty() {
        return Err(Error::invalid_arguments("`query` is empty"));
    }
    call.progress(1.0, Some(2.0), None);
    aih_plugin::info!(
        "{} looks for {}",
        call.principal().unwrap_or("nobody"),
        args.query
    );
    let lines = 0..u32::from(args.limit.unwrap_or(1));
    Ok(Json(Found {
        places: lines.map(|line| Place { line }).collect(),
    }))
}

/// Says when.
#[tool(name = "when")]
fn now() -> &'static str {
    "now"
}

/// Has a name that the macro could use itself.
#[tool]
async fn call(arguments: Search) -> String {
    arguments.query
}

/// Fetches with a secret.
#[tool]
async fn fetch() -> Result<Vec<Content>, Error> {
    let response = http::get("https://example.com/")
        .bearer(secrets::get("TOKEN")?)
        .send()?
        .error_for_status()?;
    Ok(vec![Content::image("image/png", response.into_bytes())])
}

mod elsewhere {
    /// Counts.
    #[aih_plugin::tool]
    pub(crate) async fn count() -> Result<String, aih_plugin::state::Error> {
        aih_plugin::state::update("n", |n: Option<u32>| n.unwrap_or_default() + 1).map(|n| n.to_string())
    }
}

plugin! { tools: [search, now, fetch, call, elsewhere::count] }

#[hook]
fn judge(event: Event) -> Result<Outcome> {
    let payload: Value = event.payload()?;
    Ok(match payload.get("tool").and_then(Value::as_str) {
        Some("rm") => Outcome::deny("no"),
        _ if event.attempt() > 1 => Outcome::replace(json!({"attempt": event.attempt()}))?,
        _ => Outcome::proceed(),
    })
}

fn parse(json: &str) -> Value {
    aih_plugin::serde_json::from_str(json).unwrap_or_default()
}

fn run<T: Tool>(arguments: &str) -> Result<Output> {
    block_on(T::call(testing::call(T::NAME, arguments)))
}

#[test]
fn a_tool_is_described_by_its_types_and_comments() {
    let tool = <search as Tool>::describe();
    assert_eq!(
        (tool.name.as_str(), tool.title.as_deref()),
        ("search", Some("Search"))
    );
    assert_eq!(tool.description, "Looks for something.\n\nSlowly.");
    assert_eq!(
        parse(&tool.annotations_json.unwrap()),
        json!({"readOnlyHint": true, "destructiveHint": false})
    );
    assert_eq!(
        parse(&tool.input_schema),
        json!({
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What to look for."},
                "limit": {
                    "type": ["integer", "null"], "format": "uint8", "default": null,
                    "description": "How many at most.", "minimum": 1, "maximum": 100,
                },
            },
            "required": ["query"],
            "additionalProperties": false,
        })
    );
    let output = parse(&tool.output_schema.unwrap());
    assert_eq!(
        output["properties"]["places"]["items"],
        json!({"$ref": "#/$defs/Place"})
    );
    assert_eq!(output["required"], json!(["places"]));
}

#[test]
fn a_tool_without_arguments_takes_an_empty_object() {
    let tool = <now as Tool>::describe();
    assert_eq!(
        (tool.name.as_str(), tool.output_schema, tool.annotations_json),
        ("when", None, None)
    );
    assert_eq!(
        parse(&tool.input_schema),
        json!({"type": "object", "properties": {}, "additionalProperties": false})
    );
    assert_eq!(run::<now>("{}").unwrap().content, [Content::text("now")]);
    assert!(
        run::<now>(r#"{"x": 1}"#)
            .unwrap_err()
            .to_string()
            .contains("unknown field `x`")
    );
}

#[test]
fn a_call_has_structure_text_progress_and_a_log() {
    let fake = Fake::new().run(|| {
        let output = run::<search>(r#"{"query": "q", "limit": 2}"#).unwrap();
        assert_eq!(
            output.structured,
            Some(json!({"places": [{"line": 0}, {"line": 1}]}))
        );
        assert_eq!(
            output.content[0].as_wit(),
            &Block::Text(r#"{"places":[{"line":0},{"line":1}]}"#.into())
        );
    });
    assert_eq!(fake.progress(), [1.0]);
    assert_eq!(fake.log()[0].1, "tester looks for q");
}

#[test]
fn errors_of_the_host_are_results_that_say_what_to_grant() {
    let error = run::<fetch>("{}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the secret `TOKEN` is not granted: the operator has to name it in `grants.secrets`"
    );
    let output = aih_plugin::__private::finish(Err(error)).unwrap();
    assert!(output.is_error);
    let failure = aih_plugin::__private::finish(run::<search>(r#"{"query": ""}"#));
    assert_eq!(failure, Err(Failure::InvalidArguments("`query` is empty".into())));
}

#[test]
fn a_fake_hub_answers_what_the_test_says() {
    Fake::new()
        .secret("TOKEN", "t")
        .http(|request| {
            assert_eq!(
                request.headers,
                [("authorization".to_owned(), "Bearer t".to_owned())]
            );
            let (status, headers) = (200, vec![]);
            Ok(aih_plugin::wit::host::http::Response {
                status,
                url: request.url.clone(),
                headers,
                body: b"png".into(),
            })
        })
        .state()
        .run(|| {
            assert_eq!(
                run::<fetch>("{}").unwrap().content,
                [Content::image("image/png", b"png")]
            );
            for n in ["1", "2"] {
                assert_eq!(
                    block_on(elsewhere::count()).into_output().unwrap().content,
                    [Content::text(n)]
                );
            }
        });
}

#[test]
fn a_hook_decides() {
    let event = |attempt: &str, payload: Value| {
        Event::new(aih_plugin::wit::hooks::Event {
            id: "e".into(),
            name: "tool.before".into(),
            payload_json: payload.to_string(),
            extras: vec![("attempt".into(), attempt.into())],
        })
    };
    assert_eq!(
        judge(event("1", json!({"tool": "rm"}))).unwrap(),
        Outcome::deny("no")
    );
    assert_eq!(judge(event("1", json!({}))).unwrap(), Outcome::proceed());
    let wit = aih_plugin::__private::outcome(judge(event("3", json!({})))).unwrap();
    assert_eq!(
        wit.decision,
        aih_plugin::wit::hooks::Decision::Replace(r#"{"attempt":3}"#.into())
    );
}
