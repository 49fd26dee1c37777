//! Attacks through what the hub offers.

use std::time::Duration;

use aih_plugin::{
    Error, Result, arguments, config, log, mcp, progress, secrets, serde_json::json, state, system, tool,
};

use crate::{Amount, How};

/// Calls the hub for ever. Ways: `log`, `state`, `config`, `progress`, `cancelled`, `random`, `sleep` (of no time),
/// `secret`, `mcp`, `clock`.
#[tool]
pub async fn loop_in_host_call(args: How) {
    loop {
        match args.or("log") {
            "state" => drop(state::set("loop", b"x")),
            "config" => drop(config::get::<bool>("loop")),
            "progress" => progress::report(1.0, None, None),
            "cancelled" => drop(progress::cancelled()),
            "random" => drop(system::random(65_536)),
            "sleep" => system::sleep(Duration::ZERO),
            "secret" => drop(secrets::get("loop")),
            "mcp" => drop(mcp::list_tools("loop")),
            "clock" => drop(std::time::SystemTime::now()),
            _ => aih_plugin::info!("loop"),
        }
    }
}

/// Sleeps for ever. Ways: `host` (the hub's own sleep), `wasi` (a pollable of WASI).
#[tool]
pub async fn sleep_forever(args: How) {
    match args.or("host") {
        "wasi" => std::thread::sleep(Duration::from_secs(1 << 32)),
        _ => system::sleep(Duration::MAX),
    }
}

/// Writes `amount` lines of 10 kB to the log, 100,000 if left out.
#[tool]
pub async fn log_flood(args: Amount) -> String {
    let line = "flood ".repeat(1_700);
    let lines = args.or(100_000);
    for n in 0..lines {
        log::write_with(
            log::Level::Error,
            &line,
            &json!({"n": n, "forged": "\u{1b}[2J\n{\"level\":\"INFO\"}"}),
        );
    }
    format!("{lines} lines")
}

/// Reports progress `amount` times, 1,000,000 if left out, backwards and with numbers that are none.
#[tool]
pub async fn progress_flood(args: Amount) -> String {
    let message = "m".repeat(10_000);
    let reports = args.or(1_000_000);
    for n in 0..reports {
        match n % 4 {
            0 => progress::report(f64::NAN, Some(f64::INFINITY), None),
            1 => progress::report(-1.0, Some(-1.0), Some(&message)),
            _ => progress::report(n as f64, None, Some(&message)),
        }
    }
    format!("{reports} reports")
}

/// Writes `amount` values of 1 MB, or until it is refused.
#[tool]
pub async fn state_flood(args: Amount) -> Result<String> {
    let value = vec![7; 1 << 20];
    for n in 0..args.or(u64::MAX) {
        state::set(&format!("flood/{n}"), &value)
            .map_err(|error| Error::from(error).context(format!("after {n} values")))?;
    }
    Ok("all written".to_owned())
}

/// Uses keys that nobody should. Ways: `huge` (10 MB), `empty`, `zero` (with a NUL), `path`, `like` (a wildcard
/// of SQL as the prefix of a list), `many` (keys of no bytes until it is refused).
#[tool]
pub async fn state_key(args: How) -> Result<String> {
    let key = match args.or("huge") {
        "empty" => String::new(),
        "zero" => "a\0b".to_owned(),
        "path" => "../../other-plugin/key' OR 1=1 --".to_owned(),
        "like" => return Ok(format!("{:?}", state::keys("%", None, u32::MAX)?)),
        "many" => {
            let mut n = 0u64;
            loop {
                state::set(&format!("many/{n}"), b"")
                    .map_err(|e| Error::from(e).context(format!("after {n} keys")))?;
                n += 1;
            }
        }
        _ => "k".repeat(10 << 20),
    };
    let version = state::set(&key, b"value")?;
    let read = state::get(&key)?.map(|entry| entry.value.len());
    Ok(format!("version {version}, {read:?} bytes"))
}

#[arguments]
pub struct Name {
    name: String,
}

/// Reads a secret and shows it to everybody.
#[tool]
pub async fn secret(args: Name) -> Result<String, secrets::Error> {
    let secret = secrets::get(&args.name)?;
    aih_plugin::error!("the secret is {secret}");
    eprintln!("the secret is {secret}");
    Ok(secret)
}

#[arguments]
pub struct Myself {
    /// The name that this plugin has in the hub.
    server: String,
    /// How this tool is called there; `self_call` if left out.
    tool: Option<String>,
}

/// Calls itself through the hub without end.
#[tool]
pub async fn self_call(args: Myself) -> Result<String> {
    let tool = args.tool.as_deref().unwrap_or("self_call");
    let result = mcp::call_tool(&args.server, tool, &json!({"server": args.server, "tool": tool}))?;
    Ok(format!("below: {}", result.text()))
}

/// Calls another of its own tools twice through the hub while it waits itself: one that ends and one that does not.
#[tool]
pub async fn reenter(args: Myself) -> Result<String> {
    let clocks = mcp::call_tool(&args.server, "clocks", &json!({}))?;
    let endless = mcp::call_tool(&args.server, "endless_loop", &json!({}));
    Ok(format!("clocks: {}; endless_loop: {endless:?}", clocks.text()))
}

/// Asks for 4 GB of random bytes. Ways: `host`, `wasi`.
#[tool]
pub async fn random_huge(args: How) -> String {
    let bytes = match args.or("host") {
        "wasi" => wasip2::random::random::get_random_bytes(u64::from(u32::MAX)),
        _ => system::random(u32::MAX),
    };
    format!("{} bytes", bytes.len())
}

/// Keeps `amount` handles of the host open, 1,000,000 if left out. Says how many it got.
#[tool]
pub async fn many_resources(args: Amount) -> String {
    let kept: Vec<_> = (0..args.or(1_000_000))
        .map(|_| wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX))
        .collect();
    format!("{} handles", kept.len())
}
