//! What the hub does for every request before it reaches a provider: make and find names, match
//! permissions, look things up in the catalogue. Each is measured alone, in process.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aih::access::{KeyId, PermissionSet, Principal};
use aih::catalogue::{ListKind, ListStyle, Offering, Scope, Snapshot};
use aih::names::{ExposedName, NameLimit, Namespace};
use aih::provider::{
    Answer, Call, Client, ClientKey, Offers, Provider, ProviderKind, ProviderState, ProviderStatus,
};
use aih_mcp::{ErrorObject, RawJson};
use async_trait::async_trait;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::json;

/// How lists are written in these measurements.
const STYLE: ListStyle = ListStyle::DEFAULT;

/// Lists tools and does nothing else.
struct Listing {
    name: String,
    offers: Arc<Offers>,
}

impl Listing {
    fn new(name: &str, tools: usize) -> Arc<Self> {
        let tools = (0..tools).map(|number| {
            RawJson::of(&json!({
                "name": format!("update_issue_{number:04}"),
                "description": "Updates the issue that the arguments describe.",
                "inputSchema": {"type": "object", "properties": {"id": {"type": "string"}, "title": {"type": "string"}}}
            }))
        });
        Arc::new(Self {
            name: name.to_owned(),
            offers: Arc::new(Offers {
                tools: tools.collect(),
                ..Offers::default()
            }),
        })
    }
}

fn nothing() -> ErrorObject {
    ErrorObject::method_not_found("only lists")
}

#[async_trait]
impl Provider for Listing {
    fn name(&self) -> &str {
        &self.name
    }

    fn status(&self) -> ProviderStatus {
        ProviderStatus {
            name: self.name.clone(),
            kind: ProviderKind::Mcp,
            state: ProviderState::Up,
            last_error: None,
            transport: "internal".to_owned(),
            protocol: None,
            connections: 0,
            restarts: 0,
            parked: Vec::new(),
            flaws: Vec::new(),
        }
    }

    fn offers(&self) -> Arc<Offers> {
        self.offers.clone()
    }

    async fn request(&self, _: &str, _: Option<RawJson>, _: &Call) -> Result<Answer, ErrorObject> {
        Err(nothing())
    }

    async fn notify(&self, _: &str, _: Option<RawJson>, _: &Arc<Client>) {}

    async fn subscribe(&self, _: &str, _: &Arc<Client>) -> Result<(), ErrorObject> {
        Err(nothing())
    }

    async fn unsubscribe(&self, _: &str, _: &Arc<Client>) -> Result<(), ErrorObject> {
        Ok(())
    }

    async fn set_log_level(&self, _: &Arc<Client>) {}

    fn release(&self, _: &ClientKey) {}

    async fn shutdown(&self, _: Duration) {}
}

/// The holder of a key with a realistic list of permissions; the load generator's key has the first three.
fn principal() -> Principal {
    let permissions = PermissionSet::parse([
        "mcps/*",
        "!mcps/secret/*",
        "skills/*",
        "configs/claude",
        "!mcps/github/delete_*",
    ]);
    Principal::new("bench", permissions.unwrap_or_default(), KeyId::ANONYMOUS)
}

fn naming(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("naming");
    let namespace = Namespace::new("my-github");
    group.bench_function("short", |bencher| {
        bencher.iter(|| {
            ExposedName::new(
                black_box(&namespace),
                black_box("create_issue"),
                NameLimit::DEFAULT,
            )
        });
    });
    let long = "create_a_pull_request_review_comment_on_the_current_head_of_the_branch";
    group.bench_function("cut with a hash", |bencher| {
        bencher.iter(|| ExposedName::new(black_box(&namespace), black_box(long), NameLimit::DEFAULT));
    });
    group.bench_function("namespace", |bencher| {
        bencher.iter(|| Namespace::new(black_box("my-github")))
    });
    group.finish();
}

fn permissions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("permission");
    let who = principal();
    for (name, path) in [
        ("granted", "mcps/stripe/create_invoice"),
        ("taken away", "mcps/github/delete_repository"),
        ("granted by none", "hooks/on-start"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| who.permissions().allows(black_box(path)))
        });
    }
    group.finish();
}

fn catalogue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("catalogue");
    let principal = principal();
    for tools in [10, 1_000, 5_000] {
        let offerings = || {
            ["echo", "github", "secret"]
                .map(|name| Arc::new(Offering::new(Listing::new(name, tools), NameLimit::DEFAULT)))
                .to_vec()
        };
        let snapshot = Snapshot::new(offerings());
        group.bench_with_input(BenchmarkId::new("find", tools), &snapshot, |bencher, snapshot| {
            bencher.iter(|| {
                let found = snapshot.find(ListKind::Tools, black_box("github__update_issue_0007"));
                found.filter(|(_, item)| item.visible_to(&principal))
            });
        });
        group.bench_with_input(
            BenchmarkId::new("find hidden", tools),
            &snapshot,
            |bencher, snapshot| {
                bencher.iter(|| {
                    let found = snapshot.find(ListKind::Tools, black_box("secret__update_issue_0007"));
                    found.filter(|(_, item)| item.visible_to(&principal))
                });
            },
        );
        group.bench_with_input(
            BenchmarkId::new("list again", tools),
            &snapshot,
            |bencher, snapshot| {
                bencher.iter(|| snapshot.list(&Scope::All, ListKind::Tools, black_box(&principal), STYLE));
            },
        );
        // A snapshot keeps its lists, so the first list needs a fresh one each time.
        group.bench_function(BenchmarkId::new("list first", tools), |bencher| {
            let offerings = offerings();
            bencher.iter_batched(
                || Snapshot::new(offerings.clone()),
                |snapshot| snapshot.list(&Scope::All, ListKind::Tools, black_box(&principal), STYLE),
                criterion::BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("new snapshot", tools), |bencher| {
            let offerings = offerings();
            bencher.iter_batched(
                || offerings.clone(),
                Snapshot::new,
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, naming, permissions, catalogue);
criterion_main!(benches);
