//! Reports on their way out: receivers that fail, hang, redirect and come back; a proxy that is killed; disks that are full.

mod told;

use super::*;

use crate::support::client::RawClient;
use crate::support::receiver::{Reaction, Receiver};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};

/// How often it is looked whether another process has come to where it should, and the pause in between.
const LOOKS: u32 = 2_000;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Kinds of violations whose reports are more than a small disk can hold.
const KINDS: usize = 100;

/// A host on several ports, whose pins never match: a violation for each CONNECT, of as many kinds as there are ports.
struct Setting {
    user: User,
    root: Ca,
    origins: Vec<Origin>,
}

impl Setting {
    async fn start(kinds: usize) -> Self {
        let root = Ca::root("A private CA");
        let chain = Leaf::named(HOST).signed_by(&root);
        let mut origins = Vec::new();
        for _ in 0..kinds {
            origins.push(Origin::start(OriginConfig::new(chain.clone()).behaviour(Behaviour::Echo)).await);
        }
        Self { user: User::new(), root, origins }
    }

    /// A configuration with these lines under `[reports]`.
    fn configuration(&self, reports: &str) -> PathBuf {
        self.user.file("private ca.pem", &self.root.pem());
        let roots = "[upstream]\nroots = \"private ca.pem\"\n";
        let pins = pinset(&Key::p256().pin());
        self.user.file("pinproxy.toml", &format!("{roots}[reports]\nspool = \"spool\"\n{reports}\n{pins}"))
    }

    async fn run(&self, reports: &str) -> Program {
        Program::start(self.user.run(Some(&self.configuration(reports)))).await
    }

    /// A violation of this kind; tells how its client was answered.
    async fn violate(&self, program: &Program, kind: usize) {
        let mut client = RawClient::connect(program.address).await.expect("the proxy listens");
        let reply = client.connect_to(&format!("{HOST}:{}", self.origins[kind].port())).await.expect("a reply");
        assert_eq!((reply.status, reply.reason.contains("pin")), (502, true), "{reply:?}");
    }

    async fn violate_all(&self, program: &Program) {
        for kind in 0..self.origins.len() {
            self.violate(program, kind).await;
        }
    }

    /// One violation of each kind after the other, until the log says this; tells how many there were.
    async fn violate_until(&self, program: &Program, part: &str) -> usize {
        for kind in 0..self.origins.len() {
            if program.running.err.so_far().contains(part) {
                return kind;
            }
            self.violate(program, kind).await;
        }
        panic!("{} violations are too few for {part:?}", self.origins.len());
    }

    fn spool(&self) -> PathBuf {
        self.user.folder().join("spool/reports.db")
    }

    /// The ids of the reports in the spool.
    fn spooled(&self) -> BTreeSet<String> {
        let spool = Connection::open_with_flags(self.spool(), OpenFlags::SQLITE_OPEN_READ_WRITE).expect("the spool");
        let mut read = spool.prepare("SELECT body FROM report").expect("the table");
        let bodies = read.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("reports");
        let id = |body: Vec<u8>| {
            serde_json::from_slice::<Value>(&body).expect("JSON")["report-id"].as_str().map(str::to_owned)
        };
        bodies.map(|body| id(body.expect("a report")).expect("an id")).collect()
    }

    /// Waits until so many reports are in the spool.
    async fn until_spooled(&self, count: usize) {
        for _ in 0..LOOKS {
            if self.spooled().len() == count {
                return;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        panic!("{} reports are in the spool, and should be {count}", self.spooled().len());
    }

    /// What the file of violations holds.
    fn file(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.user.folder().join("violations.jsonl")).expect("the file");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// `urls`, without anything that would hold a report up.
fn urls(receivers: &[&Receiver]) -> String {
    let urls: Vec<_> = receivers.iter().map(|receiver| format!("\"{}\"", receiver.url())).collect();
    format!("urls = [{}]\nper_minute = 6000\n", urls.join(", "))
}

async fn kill(program: Program) {
    program.running.signal("KILL").await;
    assert_eq!(program.running.ended().await.code, None);
}

#[tokio::test]
async fn a_report_arrives_by_tls_with_credentials_and_through_no_proxy() {
    let setting = Setting::start(1).await;
    let mut receiver = Receiver::with_tls(&Leaf::named(HOST).signed_by(&setting.root)).await;
    // Whoever connects here has asked the environment.
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", elsewhere.local_addr().unwrap());
    let url = format!("https://ada:s3cr%40t@{HOST}:{}/v1?to=team", receiver.addr.port());
    let config = setting.configuration(&format!("urls = [\"{url}\"]\nfile = \"violations.jsonl\""));
    let mut start = setting.user.run(Some(&config));
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        start = start.env(name, &proxy);
    }
    let program = Program::start(start).await;
    setting.violate(&program, 0).await;
    let [received] = &receiver.until(1).await[..] else { panic!("one report") };
    assert_eq!(received.path, "/v1?to=team");
    let header = |name: &str| received.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("authorization"), "Basic YWRhOnMzY3JAdA==");
    assert!(header("user-agent").starts_with("pinproxy/"), "{:?}", received.headers);
    setting.until_spooled(0).await;
    let ended = program.stop().await;
    assert!(!ended.err.contains("s3cr") && !ended.err.contains("to=team"), "{ended}");
    // The same report, under the same id, is in the file.
    assert_eq!(setting.file(), std::slice::from_ref(&received.report));
    let asked = tokio::time::timeout(Duration::ZERO, elsewhere.accept()).await;
    assert!(asked.is_err(), "somebody went to the proxy of the environment");
}

#[tokio::test]
async fn a_receiver_that_is_not_trusted_gets_nothing() {
    let setting = Setting::start(1).await;
    let receiver = Receiver::with_tls(&Leaf::named(HOST).signed_by(&Ca::root("Somebody else"))).await;
    let mut program = setting.run(&format!("urls = [\"https://{HOST}:{}/\"]", receiver.addr.port())).await;
    setting.violate(&program, 0).await;
    let log = program.running.err.until("takes no reports").await;
    assert!(log.contains("invalid peer certificate: UnknownIssuer"), "{log}");
    setting.until_spooled(1).await;
    program.stop().await;
    assert_eq!(receiver.so_far().len(), 0);
}

#[tokio::test]
async fn failures_are_tried_again_in_order_refusals_are_not_and_redirects_lead_nowhere() {
    let setting = Setting::start(3).await;
    let (mut receiver, other) = (Receiver::start().await, Receiver::start().await);
    receiver.react([
        Reaction::Redirect(other.url()),
        Reaction::Status(404),
        Reaction::Status(200),
        Reaction::Status(422),
        Reaction::LoseAnswer,
    ]);
    let mut program = setting.run(&urls(&[&receiver])).await;
    setting.violate_all(&program).await;
    let received = receiver.until(6).await;
    let ports: Vec<_> = received.iter().map(|received| received.report["port"].as_u64().unwrap()).collect();
    let expected = [0, 0, 0, 1, 2, 2].map(|kind: usize| u64::from(setting.origins[kind].port()));
    assert_eq!(ports, expected);
    assert_eq!(received[4].id(), received[5].id());
    setting.until_spooled(0).await;
    program.running.err.until("takes reports again").await;
    let ended = program.stop().await;
    ended.says(&[
        "redirects are not followed",
        "1 reports so far were refused and are not sent again; the last one: status 422",
    ]);
    assert_eq!(other.so_far().len(), 0);
}

#[tokio::test]
async fn one_that_hangs_holds_up_nobody_else() {
    let setting = Setting::start(3).await;
    let (mut slow, mut quick) = (Receiver::start().await, Receiver::start().await);
    slow.usually(Reaction::Hang);
    let program = setting.run(&urls(&[&slow, &quick])).await;
    setting.violate_all(&program).await;
    assert_eq!(quick.until(3).await.len(), 3);
    assert_eq!(slow.until(1).await.len(), 1);
    setting.until_spooled(3).await;
    // It does not hold up the end either; the next start goes on where this one was.
    program.stop().await;
    slow.usually(Reaction::Status(200));
    let program = setting.run(&urls(&[&slow, &quick])).await;
    assert_eq!(slow.until_taken(3).await.len(), 3);
    setting.until_spooled(0).await;
    program.stop().await;
    assert_eq!(quick.so_far().len(), 3);
}

#[tokio::test]
async fn a_thousand_violations_of_ten_kinds_are_ten_reports() {
    let setting = Setting::start(10).await;
    let mut receiver = Receiver::start().await;
    let program = setting.run(&format!("{}file = \"violations.jsonl\"", urls(&[&receiver]))).await;
    for _ in 0..100 {
        setting.violate_all(&program).await;
    }
    let received = receiver.until(10).await;
    program.stop().await;
    assert_eq!(receiver.so_far().len(), 10);
    let ports: BTreeSet<_> = received.iter().map(|received| received.report["port"].as_u64().unwrap()).collect();
    assert_eq!(ports.len(), 10);
    // The file is a log.
    let file = setting.file();
    assert_eq!(file.len(), 1_000);
    let ids: BTreeSet<_> = file.iter().map(|report| report["report-id"].as_str().unwrap()).collect();
    assert!(ids.len() == 1_000 && received.iter().all(|received| ids.contains(received.id())), "{}", ids.len());
}

#[tokio::test]
async fn the_next_report_says_how_many_there_were_in_between() {
    let setting = Setting::start(1).await;
    let mut receiver = Receiver::start().await;
    let more = "file = \"violations.jsonl\"\ndeduplicate_for = \"1s\"";
    let program = setting.run(&format!("{}{more}", urls(&[&receiver]))).await;
    while receiver.so_far().len() < 2 {
        setting.violate(&program, 0).await;
    }
    let received = receiver.until(2).await;
    program.stop().await;
    let file = setting.file();
    let place = |id: &str| file.iter().position(|report| report["report-id"] == id).expect("it is in the file");
    let between = place(received[1].id()) - place(received[0].id()) - 1;
    assert!(between > 0);
    assert_eq!(received[0].report["suppressed-count"], 0);
    assert_eq!(received[1].report["suppressed-count"], between);
}

/// Killed while reports come and go: what was in the spool comes, and comes twice only where the answer was lost.
#[tokio::test]
async fn what_was_spooled_survives_a_kill() {
    let setting = Setting::start(24).await;
    let mut receiver = Receiver::start().await;
    let taken = std::iter::repeat_n(Reaction::Status(200), 7);
    receiver.react(taken.chain([Reaction::LoseAnswer]));
    receiver.usually(Reaction::Status(503));
    let program = setting.run(&urls(&[&receiver])).await;
    setting.violate_all(&program).await;
    receiver.until(8).await;
    setting.until_spooled(24 - 7).await;
    kill(program).await;
    let mut known = setting.spooled();
    known.extend(
        receiver.so_far().iter().filter(|received| received.is_taken()).map(|received| received.id().to_owned()),
    );
    assert_eq!(known.len(), 24);

    receiver.usually(Reaction::Status(200));
    let program = setting.run(&urls(&[&receiver])).await;
    let taken = receiver.until_taken(25).await;
    setting.until_spooled(0).await;
    program.stop().await;
    let mut counts = BTreeMap::<&str, usize>::new();
    for received in &taken {
        *counts.entry(received.id()).or_default() += 1;
    }
    assert_eq!(counts.keys().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>(), known);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    let lost = taken.iter().find(|received| received.reaction == Reaction::LoseAnswer).expect("the lost answer");
    assert_eq!(twice, [(&lost.id(), &2)]);
}

/// Killed at any moment, again and again, while violations go on.
#[tokio::test]
async fn killed_in_the_middle_again_and_again() {
    let setting = Setting::start(40).await;
    let mut receiver = Receiver::start().await;
    let mut known = BTreeSet::new();
    for round in 0..4_usize {
        let program = setting.run(&urls(&[&receiver])).await;
        for kind in 0..10 {
            setting.violate(&program, round * 10 + kind).await;
        }
        // After the first, or one of the next: others are on their way to the spool, or out of it.
        receiver.until(known.len() + round).await;
        kill(program).await;
        known.extend(setting.spooled());
        known.extend(receiver.so_far().iter().map(|received| received.id().to_owned()));
    }
    let program = setting.run(&urls(&[&receiver])).await;
    let all = receiver
        .until_all(|all| {
            all.iter().map(|received| received.id().to_owned()).collect::<BTreeSet<_>>().is_superset(&known)
        })
        .await;
    setting.until_spooled(0).await;
    program.stop().await;
    // An answer can be lost by each kill.
    assert!(all.len() <= known.len() + 4, "{} for {}", all.len(), known.len());
}

#[tokio::test]
async fn a_second_process_waits_and_takes_over() {
    let setting = Setting::start(2).await;
    let mut receiver = Receiver::start().await;
    receiver.usually(Reaction::Status(503));
    let first = setting.run(&urls(&[&receiver])).await;
    setting.violate(&first, 0).await;
    setting.until_spooled(1).await;
    let mut second = setting.run(&urls(&[&receiver])).await;
    let told = format!("belongs to another process (process {})", first.running.id());
    second.running.err.until(&told).await;
    setting.violate(&second, 1).await;
    receiver.usually(Reaction::Status(200));
    first.stop().await;
    let taken = receiver.until_taken(2).await;
    let ports: BTreeSet<_> = taken.iter().map(|received| received.report["port"].as_u64().unwrap()).collect();
    assert_eq!(ports.len(), 2);
    setting.until_spooled(0).await;
    second.stop().await;
}

#[tokio::test]
async fn spools_that_cannot_be_used() {
    let setting = Setting::start(0).await;
    let user = &setting.user;
    let config = setting.configuration("urls = [\"http://127.0.0.1:9/\"]");
    user.file("spool/reports.db", &"no database\n".repeat(1_000));
    let ended = user.run(Some(&config)).run().await.with_code(3);
    ended.says(&["spool/reports.db is damaged", "Move it away and start again"]);
    std::fs::remove_dir_all(user.folder().join("spool")).unwrap();
    user.file("spool", "a file");
    let ended = user.run(Some(&config)).run().await.with_code(3);
    ended.says(&["the folder for reports, ", "/spool, cannot be used", "that the user of the proxy can write to"]);
}

/// The program with a file system of its own at the spool, of so many KiB; none where the system does not allow it.
async fn on_small_disk(setting: &Setting, config: &Path, kibibytes: u32) -> Option<Start> {
    on_disk(setting, config, kibibytes, "").await
}

/// The same, with something done there before it starts.
async fn on_disk(setting: &Setting, config: &Path, kibibytes: u32, before: &str) -> Option<Start> {
    let unshare = process::find("unshare")?;
    let spool = setting.user.folder().join("spool");
    std::fs::create_dir_all(&spool).expect("the folder");
    let mount = format!("mount -t tmpfs -o size={kibibytes}k,mode=700 none \"$0\"");
    let command = || process::command(&unshare, setting.user.folder()).args(["--mount", "--map-root-user", "sh", "-c"]);
    if command().arg(&mount).arg(&spool).run().await.code != Some(0) {
        process::skipped("file systems cannot be mounted in a namespace here");
        return None;
    }
    let start = command().env("XDG_DATA_HOME", setting.user.folder().join("data"));
    let start = start.arg(format!("{mount} && {{ {before} exec \"$@\"; }}")).arg(&spool);
    Some(start.args([env!("CARGO_BIN_EXE_pinproxy"), "run", "--listen", "127.0.0.1:0", "--config"]).arg(config))
}

/// The small disk as the program sees it.
fn disk_of(setting: &Setting, program: &Program) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", program.running.id(), setting.user.folder().join("spool").display()))
}

/// Reports are not worth keeping connections down: sessions are judged, and reports come to the spool when there is room.
#[tokio::test]
async fn a_disk_that_is_full_at_the_start() {
    for kibibytes in [4, 8, 64, 1_024] {
        let setting = Setting::start(2).await;
        let mut receiver = Receiver::start().await;
        let config = setting.configuration(&urls(&[&receiver]));
        let filled = "head -c 4M /dev/zero > \"$0\"/filler 2>/dev/null;";
        let Some(start) = on_disk(&setting, &config, kibibytes, filled).await else { return };
        let mut program = Program::start(start).await;
        let log = program.running.err.until("reports wait in memory").await;
        assert!(log.contains("there is no room for the spool"), "{log}");
        setting.violate_all(&program).await;
        assert_eq!(receiver.so_far().len(), 0);
        std::fs::remove_file(disk_of(&setting, &program).join("filler")).unwrap();
        if kibibytes < 200 {
            // It has no room for the spool without the filler either, and is ended in order.
            program.stop().await.says(&["2 events were not written to the spool of reports"]);
            continue;
        }
        assert_eq!(receiver.until(2).await.len(), 2);
        program.stop().await;
    }
}

/// The receiver is away until the disk is full of what waits for it. There is room to take that away again.
#[tokio::test]
async fn a_spool_that_fills_its_own_disk_is_emptied() {
    let setting = Setting::start(KINDS).await;
    let mut receiver = Receiver::start().await;
    receiver.usually(Reaction::Status(503));
    let config = setting.configuration(&urls(&[&receiver]));
    let Some(start) = on_small_disk(&setting, &config, 300).await else { return };
    let program = Program::start(start).await;
    let violations = setting.violate_until(&program, "reports wait in memory").await;
    let disk = disk_of(&setting, &program);
    // What a batch that did not fit has given back goes, too.
    assert!(std::fs::write(disk.join("more"), vec![0; 1 << 20]).is_err(), "it is full");
    receiver.usually(Reaction::Status(200));
    receiver.until_taken(violations).await;
    let ended = program.stop().await;
    assert!(!ended.err.contains("nothing is sent") && !ended.err.contains("wait in the spool for the next"), "{ended}");
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_while() {
    let setting = Setting::start(KINDS).await;
    let mut receiver = Receiver::start().await;
    receiver.usually(Reaction::Status(503));
    let config = setting.configuration(&urls(&[&receiver]));
    let Some(start) = on_small_disk(&setting, &config, 1_024).await else { return };
    let mut program = Program::start(start).await;
    let filler = disk_of(&setting, &program).join("filler");
    assert!(std::fs::write(&filler, vec![0; 2 << 20]).is_err(), "it is full");
    // No session notices.
    let violations = setting.violate_until(&program, "reports wait in memory").await;
    let log = program.running.err.so_far();
    assert!(log.contains("there is no room for the spool"), "{log}");
    std::fs::remove_file(&filler).unwrap();
    program.running.err.until("the spool takes reports again").await;
    receiver.usually(Reaction::Status(200));
    assert_eq!(receiver.until_taken(violations).await.len(), violations);
    let ended = program.stop().await;
    assert_eq!(ended.err.matches("reports wait in memory").count(), 1, "{ended}");
}

/// The answer comes when the disk is full: it is noted all the same, and the report is not sent again.
#[tokio::test]
async fn a_disk_that_is_full_when_the_answer_comes() {
    let setting = Setting::start(2).await;
    let mut receiver = Receiver::start().await;
    receiver.react([Reaction::Status(503)]);
    let config = setting.configuration(&urls(&[&receiver]));
    let Some(start) = on_small_disk(&setting, &config, 1_024).await else { return };
    let program = Program::start(start).await;
    setting.violate(&program, 0).await;
    // It is sent again a second later.
    receiver.until(1).await;
    let filler = disk_of(&setting, &program).join("filler");
    assert!(std::fs::write(&filler, vec![0; 2 << 20]).is_err(), "it is full");
    receiver.until_taken(1).await;
    std::fs::remove_file(&filler).unwrap();
    setting.violate(&program, 1).await;
    receiver.until_taken(2).await;
    let ended = program.stop().await;
    let ports: Vec<_> = receiver.so_far().iter().map(|received| received.report["port"].as_u64().unwrap()).collect();
    assert_eq!(ports, [0, 0, 1].map(|kind: usize| u64::from(setting.origins[kind].port())));
    assert!(!ended.err.contains("nothing is sent"), "there is room kept back for that: {ended}");
}

/// The lines of a file on the small disk: those that are JSON, and those that are not.
fn lines_of(file: &Path) -> (Vec<Value>, Vec<String>) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let (mut whole, mut torn) = (Vec::new(), Vec::new());
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(value) => whole.push(value),
            Err(_) => torn.push(line.to_owned()),
        }
    }
    (whole, torn)
}

/// Waits until so many lines of a file are JSON.
async fn until_written(file: &Path, count: usize) {
    for _ in 0..LOOKS {
        if lines_of(file).0.len() >= count {
            return;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    panic!("{}: {:?}", file.display(), lines_of(file));
}

/// One disk for the spool, the access file and the file of violations.
#[tokio::test]
async fn a_disk_that_is_full_for_spool_and_logs() {
    const WHILE_FULL: usize = 12;
    let setting = Setting::start(3).await;
    let mut receiver = Receiver::start().await;
    let files = "file = \"spool/violations.jsonl\"\n[log]\naccess = \"spool/access.jsonl\"\n";
    let config = setting.configuration(&format!("{}{files}", urls(&[&receiver])));
    let Some(start) = on_small_disk(&setting, &config, 1_024).await else { return };
    let mut program = Program::start(start).await;
    let disk = disk_of(&setting, &program);
    let files = ["violations.jsonl", "access.jsonl"].map(|name| disk.join(name));
    setting.violate(&program, 0).await;
    receiver.until(1).await;
    for file in &files {
        until_written(file, 1).await;
    }
    let filler = disk.join("filler");
    assert!(std::fs::write(&filler, vec![0; 2 << 20]).is_err(), "it is full");
    // What is left of the last page of each file takes less than these, and a part of one of them.
    for _ in 0..WHILE_FULL {
        setting.violate(&program, 1).await;
    }
    // What was sent has left room in the spool.
    assert_eq!(receiver.until(2).await.len(), 2);
    for name in ["violations.jsonl", "access.jsonl"] {
        program.running.err.until(&format!("spool/{name} since the start: it is too slow, or full")).await;
    }
    let before = files.each_ref().map(|file| lines_of(file).0.len());
    std::fs::remove_file(&filler).unwrap();
    setting.violate(&program, 2).await;
    for (file, before) in files.iter().zip(before) {
        until_written(file, before + 1).await;
    }
    assert_eq!(receiver.until(3).await.len(), 3);
    let seen = files.each_ref().map(|file| lines_of(file));
    let ended = program.stop().await;
    for ((file, (whole, torn)), before) in files.iter().zip(seen).zip(before) {
        assert!(torn.len() <= 1 && torn.iter().all(|line| line.starts_with('{')), "{torn:?}");
        assert_eq!(whole.len(), before + 1, "what comes behind the torn line is whole: {}", file.display());
        let last = whole.last().expect("a line");
        assert_eq!(last["port"], setting.origins[2].port(), "{last}");
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        let told =
            ended.err.lines().rev().find(|line| line.contains(&format!("{name} since the start"))).expect("told");
        let lost = told.split(" events were").next().and_then(|head| head.rsplit(' ').next()).expect("a number");
        let told_or_written = lost.parse::<usize>().expect("a number") + whole.len();
        // A line that lacks nothing but its end counts as lost, too.
        let torn_at_its_end = usize::from(torn.is_empty());
        let all = WHILE_FULL + 2;
        assert!((all..=all + torn_at_its_end).contains(&told_or_written), "{told}: {whole:?}");
    }
}

/// The parts of a message: what stands in front of the structured data, the data, and the JSON.
fn parsed(message: &str) -> (String, String, Value) {
    let (head, rest) = message.split_once(" [").expect("structured data");
    let (data, json) = rest.split_once("] {").expect("JSON");
    (head.to_owned(), data.to_owned(), serde_json::from_str(&format!("{{{json}")).expect("JSON"))
}

#[tokio::test]
async fn syslog_by_stream_and_by_datagram() {
    let setting = Setting::start(2).await;
    let stream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let local = UnixDatagram::bind(setting.user.folder().join("log.sock")).unwrap();
    let check = |text: &str, kind: usize| {
        let (head, data, json) = parsed(text);
        assert!(
            head.starts_with("<84>1 20") && head.contains(" pinproxy ") && head.ends_with(" pin-violation"),
            "{head}"
        );
        let port = setting.origins[kind].port();
        let expected =
            format!("pinproxy@32473 pinset=\"site\" host=\"{HOST}\" port=\"{port}\" class=\"pin\" session=\"");
        assert!(data.starts_with(&expected), "{data}");
        assert_eq!((&json["hostname"], &json["port"]), (&HOST.into(), &port.into()));
        json
    };

    let program = setting.run(&format!("syslog = \"tcp://{}\"", stream.local_addr().unwrap())).await;
    let mut lengths = Vec::new();
    let mut connection = None;
    for kind in 0..2 {
        setting.violate(&program, kind).await;
        if connection.is_none() {
            connection = Some(BufReader::new(stream.accept().await.unwrap().0));
        }
        // One connection for all messages, each behind its length.
        let connection = connection.as_mut().unwrap();
        let mut length = Vec::new();
        connection.read_until(b' ', &mut length).await.unwrap();
        let length: usize = std::str::from_utf8(&length).unwrap().trim_end().parse().unwrap();
        let mut message = vec![0; length];
        connection.read_exact(&mut message).await.unwrap();
        let json = check(std::str::from_utf8(&message).unwrap(), kind);
        assert_eq!(json["served-certificate-chain"].as_array().unwrap().len(), 1);
        lengths.push(length);
    }
    program.stop().await;
    assert!(lengths.iter().all(|length| *length > 1_500), "{lengths:?}");

    let mut message = vec![0; 64 << 10];
    let program = setting.run(&format!("syslog = \"udp://{}\"", datagrams.local_addr().unwrap())).await;
    setting.violate(&program, 0).await;
    let length = datagrams.recv(&mut message).await.unwrap();
    assert!(length <= 2_048, "{length}");
    let json = check(std::str::from_utf8(&message[..length]).unwrap(), 0);
    assert_eq!(json["served-certificate-chain"].as_array().unwrap().len(), 0);
    program.stop().await;

    let program = setting.run(&format!("syslog = \"unix:{}\"", setting.user.folder().join("log.sock").display())).await;
    setting.violate(&program, 1).await;
    let length = local.recv(&mut message).await.unwrap();
    check(std::str::from_utf8(&message[..length]).unwrap(), 1);
    program.stop().await;
}
