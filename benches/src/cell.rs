//! One cell of the table: so many clients doing one kind of work, directly and through what stands between.
//!
//! The ways take turns (direct, relay, hub, direct, relay, hub), so that what else happens on the machine meets
//! all of them. Calls that begin within a turn count, and a turn lasts until the last of them has its answer.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::process::Program;
use crate::session::{Endpoint, Era, Session, Work};

/// How often the ways take turns.
const TURNS: u32 = 6;
/// Runs before each turn and is not counted.
const WARM_UP: Duration = Duration::from_millis(150);
/// The most that opening all clients, or the last calls of a turn, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a cell measures.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The protocol's era.
    pub era: Era,
    /// What is asked for.
    pub work: Work,
    /// How many clients there are, each with its own connection and one request at a time.
    pub connections: usize,
    /// How long each way is measured, over all its turns.
    pub time: Duration,
}

/// What came out for one way. Times in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Numbers {
    /// Right answers.
    pub calls: usize,
    /// Right answers in a second.
    pub calls_per_second: f64,
    /// Half of the calls took no longer.
    pub p50: f64,
    /// 95 of 100 calls took no longer.
    pub p95: f64,
    /// 99 of 100 calls took no longer.
    pub p99: f64,
    /// CPU time for a call of the process that stands between, in its turns, warm-up included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
}

/// What stands between clients and the server.
#[derive(Debug, Clone)]
pub struct Through<'a> {
    /// What the table calls it.
    pub path: &'static str,
    /// Where its clients go.
    pub endpoint: Endpoint,
    /// Its process, whose CPU time is read around each turn.
    pub program: &'a Program,
}

/// What came out.
#[derive(Debug)]
pub struct Cell {
    /// With nothing between.
    pub direct: Numbers,
    /// The others, by what the table calls them.
    pub ways: Vec<(&'static str, Numbers)>,
}

/// Measures `direct`, and the others in turns with it.
///
/// # Errors
/// When a client cannot be opened, or any answer is wrong or missing.
pub async fn measure(direct: &Endpoint, ways: &[Through<'_>], plan: Plan) -> Result<Cell> {
    let mut direct = Side::open(direct, plan).await.context("direct")?;
    let mut sides = Vec::with_capacity(ways.len());
    for way in ways {
        let side = Side::open(&way.endpoint, plan).await.context(way.path)?;
        sides.push((way, side, Duration::ZERO));
    }
    for _ in 0..TURNS {
        direct.turn(plan.time / TURNS).await.context("direct")?;
        for (way, side, cpu) in &mut sides {
            let before = way.program.cpu()?;
            side.turn(plan.time / TURNS).await.context(way.path)?;
            *cpu += way.program.cpu()?.saturating_sub(before);
        }
    }
    let direct = direct.close().await?;
    let mut ways = Vec::with_capacity(sides.len());
    for (way, side, cpu) in sides {
        let calls = side.calls as f64;
        let numbers = Numbers {
            cpu: Some(cpu.as_secs_f64() * 1e6 / calls),
            ..side.close().await?
        };
        ways.push((way.path, numbers));
    }
    Ok(Cell { direct, ways })
}

/// All clients of one way, and what they have measured.
struct Side {
    sessions: Vec<Session>,
    latencies: Vec<Duration>,
    measured: Duration,
    /// All calls of all turns, those of warm-ups too.
    calls: u64,
}

impl Side {
    async fn open(endpoint: &Endpoint, plan: Plan) -> Result<Self> {
        let mut sessions = Vec::with_capacity(plan.connections);
        for number in 1..=plan.connections {
            let session = timeout(PATIENCE, Session::open(endpoint, plan.era, plan.work))
                .await
                .map_err(|_| anyhow!("no answer within {PATIENCE:?}"))
                .and_then(|opened| opened)
                .with_context(|| {
                    format!("client {number} of {} at {}", plan.connections, endpoint.address)
                })?;
            sessions.push(session);
        }
        Ok(Self {
            sessions,
            latencies: Vec::new(),
            measured: Duration::ZERO,
            calls: 0,
        })
    }

    async fn turn(&mut self, time: Duration) -> Result<()> {
        let begin = Instant::now() + WARM_UP;
        let end = begin + time;
        let running: Vec<_> = self
            .sessions
            .drain(..)
            .map(|session| tokio::spawn(drive(session, begin, end)))
            .collect();
        for client in running {
            let (session, latencies, calls) = timeout(WARM_UP + time + PATIENCE, client)
                .await
                .map_err(|_| anyhow!("a call had no answer within {PATIENCE:?}"))???;
            self.sessions.push(session);
            self.latencies.extend(latencies);
            self.calls += calls;
        }
        // With answers that take long the last ones come well after `end`.
        self.measured += begin.elapsed();
        Ok(())
    }

    async fn close(mut self) -> Result<Numbers> {
        for session in self.sessions.drain(..) {
            session.close().await.context("cannot close a session")?;
        }
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let rank = (self.latencies.len() as f64 * share) as usize;
            let last = self.latencies.len().saturating_sub(1);
            self.latencies
                .get(rank.min(last))
                .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
        };
        Ok(Numbers {
            calls: self.latencies.len(),
            calls_per_second: self.latencies.len() as f64 / self.measured.as_secs_f64(),
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            cpu: None,
        })
    }
}

async fn drive(mut session: Session, begin: Instant, end: Instant) -> Result<(Session, Vec<Duration>, u64)> {
    let mut latencies = Vec::with_capacity(16 * 1024);
    let mut calls = 0;
    let mut started = Instant::now();
    while started < end {
        session.call().await?;
        calls += 1;
        let ended = Instant::now();
        if started >= begin {
            latencies.push(ended - started);
        }
        started = ended;
    }
    Ok((session, latencies, calls))
}
