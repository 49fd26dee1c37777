//! Attacks on time and memory, and ends that are none.

use std::{
    hint::black_box,
    time::{Instant, SystemTime},
};

use aih_plugin::{
    Json,
    serde_json::{Value, json},
    tool,
};

use crate::{Amount, How};

/// Computes for ever.
#[tool]
pub async fn endless_loop() {
    let mut n = 0u64;
    loop {
        n = black_box(n.wrapping_add(1));
    }
}

/// Computes `amount` million steps, 100 if left out.
#[tool]
pub async fn work(args: Amount) -> String {
    let mut n = 0u64;
    for _ in 0..args.or(100) * 1_000_000 {
        n = black_box(n.wrapping_add(1));
    }
    format!("{n} steps")
}

/// Writes `amount` megabytes, 200 if left out, with few instructions, of which each writes all of it.
#[tool]
pub async fn fill_memory(args: Amount) -> String {
    let mut all = Vec::<u8>::new();
    all.resize(usize::try_from(args.or(200)).unwrap_or_default() << 20, 1);
    for round in 0..8 {
        black_box(&mut all).fill(round);
    }
    format!("{} bytes", all.len())
}

/// Allocates and touches memory, 16 MB at a time, until it ends or `amount` megabytes are there.
#[tool]
pub async fn memory_bomb(args: Amount) -> String {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    while (kept.len() as u64) * 16 < args.or(u64::MAX / 16) {
        kept.push(black_box(vec![1; 16 << 20]));
    }
    format!("{} MB", kept.len() * 16)
}

/// Grows the memory page by page without touching it, until it is refused. Says how many MB it got.
#[tool]
pub async fn memory_grow() -> String {
    #[cfg(target_family = "wasm")]
    while core::arch::wasm32::memory_grow::<0>(16) != usize::MAX {}
    #[cfg(target_family = "wasm")]
    let pages = core::arch::wasm32::memory_size::<0>();
    #[cfg(not(target_family = "wasm"))]
    let pages = 0;
    format!("{} MB", pages / 16)
}

/// Calls itself until the stack is full. Ways: `stack` (many small frames), `frames` (large ones in memory).
#[tool]
pub async fn deep_recursion(args: How) -> String {
    fn small(n: u64) -> u64 {
        if black_box(n) == u64::MAX {
            0
        } else {
            small(n + 1) ^ black_box(n)
        }
    }
    fn large(n: u64) -> u64 {
        let frame = black_box([n; 512]);
        if n == u64::MAX {
            0
        } else {
            large(n + 1) ^ frame[(n % 512) as usize]
        }
    }
    match args.or("stack") {
        "frames" => large(0),
        _ => small(0),
    }
    .to_string()
}

/// Panics.
#[tool]
pub async fn panic() {
    panic!("as asked");
}

/// Ends the process, if there were one, with the status `amount`.
#[tool]
pub async fn exit(args: Amount) {
    std::process::exit(i32::try_from(args.or(0)).unwrap_or(1));
}

/// Aborts.
#[tool]
pub async fn abort() {
    std::process::abort();
}

/// Waits for what never comes, in the guest's own scheduler.
#[tool]
pub async fn never() {
    std::future::pending::<()>().await;
}

/// Reads the clocks and how fine they are: allowed, and of use to who measures caches.
#[tool]
pub async fn clocks() -> Json<Value> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let start = Instant::now();
    let mut finest = u128::MAX;
    for _ in 0..1000 {
        let before = Instant::now();
        let step = before.elapsed().as_nanos();
        if step > 0 {
            finest = finest.min(step);
        }
    }
    Json(json!({
        "unix_seconds": now.as_secs(),
        "finest_ns": u64::try_from(finest).unwrap_or(0),
        "took_ns": u64::try_from(start.elapsed().as_nanos()).unwrap_or(0),
    }))
}
