use std::sync::Mutex;

use tokio::time::Instant;

use super::{super::process_group::lock, *};

/// Longer than anything here takes; reaching it is a failure.
const BOUND: Duration = Duration::from_secs(30);

#[derive(Default)]
struct RecordingInbox {
    messages: Mutex<Vec<String>>,
    closed: Mutex<Vec<String>>,
    unanswered: Mutex<usize>,
    changed: tokio::sync::Notify,
}

impl Inbox for RecordingInbox {
    fn message(&self, during: Option<u64>, message: Message) {
        assert_eq!(during, None);
        lock(&self.messages).push(String::from_utf8_lossy(&message.to_bytes()).into_owned());
        self.changed.notify_one();
    }

    fn closed(&self, error: TransportError, unanswered: &[u64]) {
        *lock(&self.unanswered) = unanswered.len();
        lock(&self.closed).push(error.to_string());
        self.changed.notify_one();
    }
}

impl RecordingInbox {
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                self.changed.notified().await;
            }
        };
        timeout(BOUND, wait).await.expect("in time");
    }

    async fn why_closed(&self) -> String {
        self.until(|h| !lock(&h.closed).is_empty()).await;
        lock(&self.closed).join("; ")
    }
}

async fn start(script: &str) -> (Arc<StdioTransport>, Arc<RecordingInbox>) {
    start_with(script, Vec::new(), None).await
}

async fn start_with(
    script: &str,
    env: Vec<(String, SecretString)>,
    cwd: Option<PathBuf>,
) -> (Arc<StdioTransport>, Arc<RecordingInbox>) {
    let inbox = Arc::<RecordingInbox>::default();
    let args = vec!["-c".to_owned(), script.to_owned()];
    let transport = StdioTransport::spawn("t", "sh", args, env, cwd, inbox.clone())
        .await
        .unwrap();
    (transport, inbox)
}

async fn ask(transport: &StdioTransport, id: u64) -> Result<Outcome, TransportError> {
    timeout(BOUND, transport.request(id, "ping", None, &[]))
        .await
        .expect("in time")
}

/// Waits until the process `pid` is gone; a zombie is.
async fn gone(pid: &str) -> bool {
    let status = format!("/proc/{pid}/stat");
    let start = Instant::now();
    while start.elapsed() < BOUND {
        match std::fs::read_to_string(&status) {
            Ok(text) if !text.contains(") Z ") => tokio::task::yield_now().await,
            _ => return true,
        }
    }
    false
}

/// Answers every request with its own id.
const ECHO: &str = r#"while read -r line; do
  id=${line#*'"id":'}; id=${id%%,*}
  printf '{"jsonrpc":"2.0","id":%s,"result":{"n":%s}}\n' "$id" "$id"
done"#;

#[tokio::test]
async fn requests_and_answers_find_each_other() {
    let (transport, _) = start(ECHO).await;
    let answers = futures::future::join_all((1..=20).map(|id| ask(&transport, id))).await;
    for (n, answer) in (1..).zip(answers) {
        assert_eq!(answer.unwrap().unwrap().text(), format!("{{\"n\":{n}}}"));
    }
    assert_eq!(transport.shared.pending.waiting(), 0);
    transport.close().await;
    transport.close().await;
    assert!(matches!(
        ask(&transport, 21).await,
        Err(TransportError::NotSent(_))
    ));
}

#[tokio::test]
async fn what_is_no_message_is_skipped() {
    let script = format!(
        "i=0; while [ $i -lt 150 ]; do echo 'Welcome to my server!'; i=$((i+1)); done; echo; \
         printf '{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}}\\r\\n'; {ECHO}"
    );
    let (transport, inbox) = start(&script).await;
    assert!(ask(&transport, 1).await.unwrap().is_ok());
    let messages = lock(&inbox.messages).clone();
    assert_eq!(messages, [r#"{"jsonrpc":"2.0","method":"notifications/x"}"#]);
    transport.close().await;
    assert!(lock(&inbox.closed).is_empty(), "the hub closed it itself");
}

/// Answers each request with the next of these lines, in which `ID` is its id.
fn answering(lines: &[&str]) -> String {
    let cases: String = (1..)
        .zip(lines)
        .map(|(n, line)| format!("{n}) line='{line}';; "))
        .collect();
    format!(
        r#"n=0; while read -r asked; do
  id=${{asked#*'"id":'}}; id=${{id%%,*}}; n=$((n+1)); case $n in {cases}esac
  while case $line in *ID*) true;; *) false;; esac; do line="${{line%%ID*}}$id${{line#*ID}}"; done; printf "$line\n"
done"#
    )
}

#[tokio::test]
async fn answers_that_an_official_sdk_takes_are_taken() {
    let lines = [
        r#"{"jsonrpc":"2.0","id":"ID","result":{"x":1}}"#,
        r#"{"jsonrpc":"2.0","id":ID.0,"result":{"x":1}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":{"x":1},"error":null}"#,
        r#"\357\273\277{"jsonrpc":"2.0","id":ID,"result":{"x":1}}\r"#,
        r#"[{"jsonrpc":"2.0","id":ID,"result":{"x":1}}]"#,
        r#"Ready. {"jsonrpc":"2.0","id":1}\n{"level":"info","id":ID}\n{"jsonrpc":"2.0","id":ID,"result":{"x":1}}"#,
    ];
    let (transport, _) = start(&answering(&lines)).await;
    for (id, line) in (1..).zip(lines) {
        let answer = ask(&transport, id)
            .await
            .unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(answer.unwrap().text(), r#"{"x":1}"#, "{line}");
    }
    transport.close().await;
    let (transport, _) = start(&answering(&[
        r#"{"jsonrpc":"2.0","id":ID,"result":{"x":"caf\351"}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32000.0,"message":"boom"},"result":null}"#,
    ]))
    .await;
    assert_eq!(
        ask(&transport, 1).await.unwrap().unwrap().text(),
        "{\"x\":\"caf\u{fffd}\"}"
    );
    let error = ask(&transport, 2).await.unwrap().unwrap_err();
    assert_eq!((error.code.0, error.message.as_str()), (-32_000, "boom"));
    transport.close().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_fails_its_request_at_once_and_no_other() {
    let lines = [
        r#"{"jsonrpc":"2.0","id":ID,"result":{"x":NaN}}"#,
        r#"{"result":{"x":1},"jsonrpc":"2.0","id":"ID""#,
        r#"{"jsonrpc":"2.0","id":ID,"error":"boom"}"#,
        r#"{"id":ID,"result":{"x":1}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":"pong"}"#,
    ];
    let (transport, inbox) = start(&format!("read -r never; {}", answering(&lines))).await;
    let other = tokio::spawn({
        let transport = transport.clone();
        async move { ask(&transport, 99).await }
    });
    timeout(BOUND, async {
        while transport.shared.pending.unanswered().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    for (id, line) in (1..).zip(lines) {
        let error = ask(&transport, id).await.expect_err(line);
        assert!(matches!(error, TransportError::Protocol(_)), "{line}: {error}");
        let said = error.to_string();
        assert!(said.contains(&line.replace("ID", &id.to_string())), "{said}");
    }
    assert!(!other.is_finished());
    assert!(lock(&inbox.closed).is_empty());
    transport.close().await;
    assert!(other.await.unwrap().is_err());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_the_end_of_the_process() {
    let (transport, _) =
        start(r#"read -r l; printf '{"jsonrpc":"2.0","id":1,"result":{"x":"ha'; exit 4"#).await;
    let error = ask(&transport, 1).await.unwrap_err();
    assert!(
        matches!(error, TransportError::Exited { status: Some(4), .. }),
        "{error}"
    );
}

#[tokio::test]
async fn the_end_is_reported_with_what_the_process_said_last() {
    let script = "read -r line; for i in 1 2 3 4 5 6; do echo \"line $i\" >&2; done; exit 3";
    let (transport, inbox) = start(script).await;
    let error = ask(&transport, 1).await.unwrap_err().to_string();
    let wanted = "the process exited with status 3: line 2 | line 3 | line 4 | line 5 | line 6";
    assert_eq!(error, wanted);
    assert_eq!(inbox.why_closed().await, wanted);
    assert_eq!(
        ask(&transport, 2).await.unwrap_err().to_string(),
        format!("not sent: {wanted}")
    );
    transport.close().await;
    assert_eq!(lock(&inbox.closed).len(), 1);
}

#[tokio::test]
async fn what_a_process_says_on_its_output_before_it_ends_is_its_reason_too() {
    let (transport, _) = start("echo 'Error: no token'; echo hint >&2; exit 1").await;
    let error = ask(&transport, 1).await.unwrap_err().to_string();
    assert!(
        error.contains("status 1: ") && error.contains("Error: no token"),
        "{error}"
    );
    assert!(error.contains("hint"), "{error}");
}

#[tokio::test]
async fn an_answer_just_before_the_end_counts() {
    let (transport, inbox) =
        start(r#"read -r l; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; kill -9 $$"#).await;
    assert!(ask(&transport, 1).await.unwrap().is_ok());
    assert_eq!(inbox.why_closed().await, "the process was killed by SIGKILL");
}

#[tokio::test]
async fn a_line_without_an_end_closes() {
    let (transport, inbox) = start("read -r l; head -c 40000000 /dev/zero; exec cat").await;
    let error = ask(&transport, 1).await.unwrap_err();
    assert!(
        matches!(error, TransportError::TooLarge { limit: MAX_MESSAGE }),
        "{error}"
    );
    assert!(inbox.why_closed().await.contains("bytes in one message"));
    transport.close().await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_costs_its_own_call() {
    let script = format!(
        r#"read -r never; large() {{ head -c 40000000 /dev/zero | tr '\0' a; }}
read -r l; printf '{{"jsonrpc":"2.0","id":1,"result":{{"x":"'; large; printf '"}}}}\n'
read -r l; printf '{{"result":{{"x":"'; large; printf '"}},"jsonrpc":"2.0","id":2}}\n'
{ECHO}"#
    );
    let (transport, inbox) = start(&script).await;
    let other = tokio::spawn({
        let transport = transport.clone();
        async move { ask(&transport, 99).await }
    });
    timeout(BOUND, async {
        while transport.shared.pending.unanswered().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    for id in [1, 2] {
        let error = ask(&transport, id).await.unwrap_err();
        assert!(matches!(error, TransportError::TooLarge { .. }), "{id}: {error}");
    }
    assert_eq!(ask(&transport, 3).await.unwrap().unwrap().text(), "{\"n\":3}");
    assert!(!other.is_finished() && lock(&inbox.closed).is_empty());
    transport.close().await;
    assert!(other.await.unwrap().is_err());
}

#[tokio::test]
async fn a_child_that_does_not_read_holds_up_only_its_callers() {
    let (transport, _) = start("exec sleep 1000").await;
    let big = RawJson::of(&serde_json::json!({ "x": "y".repeat(200_000) }));
    // More than pipe and queue hold.
    for id in 0..(QUEUE as u64 + 10) {
        let request = transport.request(id, "m", Some(big.clone()), &[]);
        assert!(timeout(Duration::from_millis(5), request).await.is_err());
    }
    assert!(transport.shared.pending.waiting() == 0, "given up, forgotten");
    // Unread input is still input: it takes SIGTERM to end this one.
    timeout(BOUND, transport.close()).await.expect("in time");
}

#[tokio::test]
async fn what_was_not_written_says_so_when_the_process_ends() {
    // Reads one line, and gives the rest of a long queue no chance.
    let (transport, inbox) = start("read -r line; sleep 0.3; exit 7").await;
    let big = RawJson::of(&serde_json::json!({ "x": "y".repeat(200_000) }));
    let requests = (1..=5).map(|id| transport.request(id, "m", Some(big.clone()), &[]));
    let answers = timeout(BOUND, futures::future::join_all(requests)).await.unwrap();
    let errors: Vec<_> = answers.into_iter().map(Result::unwrap_err).collect();
    let exited = |e: &TransportError| matches!(e, TransportError::Exited { status: Some(7), .. });
    let (exits, not_sent): (Vec<_>, Vec<_>) = errors.iter().partition(|e| exited(e));
    // The first was read; the second was being written.
    assert!((1..=2).contains(&exits.len()), "{errors:?}");
    for error in not_sent {
        assert!(
            matches!(error, TransportError::NotSent(why) if exited(why)),
            "{error}"
        );
    }
    assert_eq!(inbox.why_closed().await, "the process exited with status 7");
    assert_eq!(*lock(&inbox.unanswered), exits.len());
}

#[tokio::test]
async fn a_process_that_closes_its_output_is_ended_soon() {
    let (transport, inbox) =
        start("read -r line; exec 1>&-; trap '' TERM; while :; do sleep 1000; done").await;
    let began = Instant::now();
    ask(&transport, 1).await.unwrap_err();
    inbox.why_closed().await;
    transport.close().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn closing_kills_the_whole_group() {
    // The shell and its child ignore the polite ways.
    let script = r#"trap '' TERM; sh -c 'trap "" TERM; while :; do sleep 1000; done' &
        printf '{"jsonrpc":"2.0","method":"pids","params":[%s,%s]}\n' $$ $!
        while :; do wait; done"#;
    let (transport, inbox) = start(script).await;
    inbox.until(|h| !lock(&h.messages).is_empty()).await;
    let pids = pids(&inbox);
    timeout(BOUND, transport.close()).await.expect("in time");
    for pid in pids {
        assert!(gone(&pid).await, "{pid}");
    }
}

fn pids(inbox: &RecordingInbox) -> Vec<String> {
    let text = lock(&inbox.messages).concat();
    let (_, list) = text.split_once('[').unwrap();
    list.trim_end_matches("]}")
        .split(',')
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn dropping_kills_at_once() {
    let script = r#"sleep 1000 & printf '{"jsonrpc":"2.0","method":"pids","params":[%s,%s]}\n' $$ $!; wait"#;
    let (transport, inbox) = start(script).await;
    inbox.until(|h| !lock(&h.messages).is_empty()).await;
    drop(transport);
    for pid in pids(&inbox) {
        assert!(gone(&pid).await, "{pid}");
    }
    assert!(lock(&inbox.closed).is_empty());
}

#[tokio::test]
async fn a_grandchild_does_not_outlive_the_process() {
    let script =
        r#"sleep 1000 & printf '{"jsonrpc":"2.0","method":"pids","params":[%s,%s]}\n' $$ $!; exit 0"#;
    let (_transport, inbox) = start(script).await;
    assert_eq!(inbox.why_closed().await, "the process exited with status 0");
    for pid in pids(&inbox) {
        assert!(gone(&pid).await, "{pid}");
    }
}

#[tokio::test]
async fn the_environment_is_what_was_configured() {
    let script = r#"printf '{"jsonrpc":"2.0","method":"m","params":["%s","%s","%s"]}\n' \
        "$TOKEN" "${CARGO_PKG_NAME-unset}" "$(pwd)"; cat"#;
    let dir = std::fs::canonicalize(std::env::temp_dir()).unwrap();
    let env = vec![("TOKEN".to_owned(), SecretString::from("s3cret"))];
    let (transport, inbox) = start_with(script, env, Some(dir.clone())).await;
    inbox.until(|h| !lock(&h.messages).is_empty()).await;
    let wanted = format!(r#"["s3cret","unset","{}"]"#, dir.display());
    assert!(
        lock(&inbox.messages)[0].contains(&wanted),
        "{:?}",
        lock(&inbox.messages)
    );
    transport.close().await;
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let start = async |command, cwd: Option<&str>| {
        let inbox = Arc::<RecordingInbox>::default();
        let env = vec![("PATH".to_owned(), SecretString::from("/nowhere"))];
        let error = StdioTransport::spawn("t", command, Vec::new(), env, cwd.map(PathBuf::from), inbox).await;
        error.err().expect("refused").to_string()
    };
    assert_eq!(
        start("uvx", None).await,
        "cannot connect: command `uvx` not found in PATH; install uv (https://docs.astral.sh/uv)"
    );
    assert!(
        start("sh", Some("/nowhere"))
            .await
            .contains("working directory `/nowhere` does not exist")
    );
}

#[test]
fn line_breaks_between_tokens_become_blanks() {
    assert_eq!(one_line(b"{\r\n\"a\":1}"), "{  \"a\":1}");
}
