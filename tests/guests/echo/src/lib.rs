//! Tools that do one simple thing each. `echo` is the same as that of the benchmarks' upstream server.

use std::time::Duration;

use aih_plugin::{
    Content, Context, Error, Json, Output, Result, arguments, client, config, log, mcp, secrets,
    serde_json::{Value, json},
    state, structured, system, tool,
};

aih_plugin::plugin! {
    tools: [
        echo, big, slow, image, sound, resource, structured_result, fail, refuse, write_log, state_counter, call,
        elicit, sample, roots, who, configured, secret_length,
    ],
}

#[arguments]
struct Text {
    /// What to give back.
    text: String,
}

/// Gives the text back
#[tool(read_only)]
async fn echo(args: Text) -> String {
    args.text
}

/// Gives 100 kB of text
#[tool(read_only)]
async fn big() -> String {
    "0123456789abcdef".repeat(100_000 / 16)
}

#[arguments]
struct Slow {
    /// How many steps; 5 if left out.
    steps: Option<u32>,
    /// Milliseconds that each step takes; 20 if left out.
    step_ms: Option<u64>,
}

/// Takes its time, says how far it is, and ends early when the client gives up.
#[tool]
async fn slow(args: Slow, call: Context) -> Result<String> {
    let steps = args.steps.unwrap_or(5);
    for step in 0..steps {
        if call.cancelled() {
            return Err(Error::new(format!("cancelled at step {step}")));
        }
        call.progress(f64::from(step), Some(f64::from(steps)), Some("working"));
        system::sleep(Duration::from_millis(args.step_ms.unwrap_or(20)));
    }
    call.progress(f64::from(steps), Some(f64::from(steps)), None);
    Ok(format!("{steps} steps"))
}

/// A PNG of one pixel.
const PIXEL: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0,
    1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 13, b'I', b'D', b'A', b'T', 0x78, 0xda, 0x63, 0xfc,
    0xcf, 0xc0, 0x50, 0x0f, 0, 4, 0x85, 1, 0x80, 0x84, 0xa9, 0x8c, 0x21, 0, 0, 0, 0, b'I', b'E', b'N', b'D',
    0xae, 0x42, 0x60, 0x82,
];

/// Gives text and an image.
#[tool]
async fn image() -> Vec<Content> {
    vec![Content::text("a pixel"), Content::image("image/png", PIXEL)]
}

/// Gives a sound that lasts no time.
#[tool]
async fn sound() -> Content {
    Content::audio("audio/wav", *b"RIFF\x04\0\0\0WAVE")
}

/// Gives an embedded resource and a link to one.
#[tool]
async fn resource() -> Vec<Content> {
    vec![
        Content::resource("note://1", "text/plain", "a note"),
        Content::resource_link("note://2", "another note"),
    ]
}

#[structured]
struct Sum {
    /// a + b
    sum: i64,
}

#[arguments]
struct Numbers {
    a: i32,
    b: i32,
}

/// Adds two numbers: a structured result.
#[tool(name = "structured")]
async fn structured_result(args: Numbers) -> Json<Sum> {
    Json(Sum {
        sum: i64::from(args.a) + i64::from(args.b),
    })
}

#[arguments]
struct Message {
    message: String,
}

/// Fails with the message.
#[tool]
async fn fail(args: Message) -> Result<()> {
    Err(Error::new(args.message))
}

/// Is not available, for the reason given.
#[tool]
async fn refuse(args: Message) -> Result<()> {
    Err(Error::unavailable(args.message))
}

/// Writes a line to the log at each level, one with fields, and one each to stdout and stderr.
#[tool(name = "log")]
async fn write_log(args: Message) -> &'static str {
    let message = args.message;
    aih_plugin::trace!("{message}");
    aih_plugin::debug!("{message}");
    aih_plugin::info!("{message}");
    aih_plugin::warn!("{message}");
    aih_plugin::error!("{message}");
    log::write_with(log::Level::Info, &message, &json!({"fields": true}));
    println!("stdout: {message}");
    eprintln!("stderr: {message}");
    "written"
}

#[arguments]
struct Counter {
    /// Which counter; `counter` if left out.
    key: Option<String>,
}

/// Counts its calls, also those that run at the same time.
#[tool]
async fn state_counter(args: Counter) -> Result<String, state::Error> {
    let key = args.key.as_deref().unwrap_or("counter");
    let count = state::update(key, |count: Option<u64>| count.unwrap_or(0) + 1)?;
    Ok(count.to_string())
}

#[arguments]
struct Call {
    /// The server.
    server: String,
    /// The tool; lists the server's tools if left out.
    tool: Option<String>,
    /// Its arguments.
    arguments: Option<Value>,
}

/// Calls a tool of another server, or lists its tools.
#[tool]
async fn call(args: Call) -> Result<Output> {
    let Some(tool) = args.tool else {
        return Ok(Output {
            structured: Some(json!({"tools": mcp::list_tools(&args.server)?})),
            ..Output::default()
        });
    };
    let result = mcp::call_tool(&args.server, &tool, &args.arguments.unwrap_or_else(|| json!({})))?;
    Ok(Output {
        content: result.content.iter().map(Content::other).collect(),
        structured: result.structured_content,
        is_error: result.is_error,
        meta: None,
    })
}

/// Asks the person for a name.
#[tool]
async fn elicit(args: Message) -> Result<String> {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    Ok(match client::elicit(&args.message, &schema)? {
        client::Answer::Accept(content) => format!("accepted {content}"),
        client::Answer::Decline => "declined".to_owned(),
        client::Answer::Cancel => "cancelled".to_owned(),
    })
}

/// Asks the client's model.
#[tool]
async fn sample(args: Message) -> Result<String> {
    let result = client::sample(&json!({
        "messages": [{"role": "user", "content": {"type": "text", "text": args.message}}],
        "maxTokens": 100,
    }))?;
    Ok(result.to_string())
}

/// Lists the client's roots.
#[tool]
async fn roots() -> Result<String> {
    Ok(client::roots()?.to_string())
}

#[structured]
struct Who {
    call_id: String,
    principal: Option<String>,
    time_left_ms: u64,
}

/// Says what it knows of the call.
#[tool]
async fn who(call: Context) -> Json<Who> {
    Json(Who {
        call_id: call.call_id().to_owned(),
        principal: call.principal().map(str::to_owned),
        time_left_ms: u64::try_from(call.time_left().as_millis()).unwrap_or(u64::MAX),
    })
}

#[arguments]
struct Name {
    name: String,
}

/// Gives a value of the plugin's configuration, as JSON.
#[tool(name = "config")]
async fn configured(args: Name) -> Result<String> {
    Ok(config::get::<Value>(&args.name)?.unwrap_or_default().to_string())
}

/// Says how long a secret is, and not what it is.
#[tool]
async fn secret_length(args: Name) -> Result<String, secrets::Error> {
    secrets::get(&args.name).map(|secret| secret.len().to_string())
}
