use super::*;

use crate::outbox::spool::Now;
use std::sync::Mutex;
use std::time::SystemTime;
use tokio::sync::mpsc;

/// Answers as it is told, and tells what it got and when.
struct Told {
    answers: VecDeque<Answer>,
    seen: mpsc::UnboundedSender<(String, Instant)>,
}

impl Receiver for Told {
    async fn send(&mut self, report: &Spooled) -> Answer {
        let text = String::from_utf8(report.body.clone()).unwrap();
        drop(self.seen.send((text, Instant::now())));
        self.answers.pop_front().unwrap_or(Answer::Taken)
    }
}

struct Setting {
    spool: Arc<Spool>,
    counts: Arc<Counts>,
    seen: mpsc::UnboundedReceiver<(String, Instant)>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    time: Arc<Mutex<SystemTime>>,
    /// How far another clock is behind.
    behind: Arc<Mutex<Duration>>,
    folder: tempfile::TempDir,
}

fn failed(seconds: Option<u64>) -> Answer {
    Answer::Failed { why: "status 503".into(), retry_after: seconds.map(Duration::from_secs) }
}

impl Setting {
    fn start(answers: Vec<Answer>, per_minute: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let time = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200)));
        let now: Now = Arc::new({
            let time = Arc::clone(&time);
            move || *time.lock().unwrap()
        });
        let behind = Arc::new(Mutex::new(Duration::ZERO));
        let moments: Moments = Arc::new({
            let (time, behind) = (Arc::clone(&time), Arc::clone(&behind));
            move || {
                let now = *time.lock().unwrap();
                Moment::between(now, now - *behind.lock().unwrap())
            }
        });
        let spool = Arc::new(Spool::new(folder.path(), vec!["a".into()], 1_000, now));
        let (sender, seen) = mpsc::unbounded_channel();
        let (counts, stop) = (Arc::<Counts>::default(), CancellationToken::new());
        let route = Route {
            spool: Arc::clone(&spool),
            target: 0,
            name: "a".into(),
            counts: Arc::clone(&counts),
            per_minute,
            moments,
            begun: Instant::now(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(deliver(Told { answers: answers.into(), seen: sender }, route));
        Self { spool, counts, seen, stop, task, time, behind, folder }
    }

    fn put(&self, texts: &[&str]) {
        let bodies: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        assert_eq!(self.spool.append(&bodies).unwrap(), 0);
    }

    /// From now on the spool gives reports and takes no note of answers, as on a disk that is full; or it does again.
    fn take_notes(&self, does: bool) {
        self.spool.open().unwrap();
        let connection = rusqlite::Connection::open(self.folder.path().join("reports.db")).unwrap();
        let sql = if does {
            "DROP TRIGGER full"
        } else {
            "CREATE TRIGGER full BEFORE UPDATE ON target BEGIN SELECT RAISE(ABORT, 'no room'); END"
        };
        connection.execute_batch(sql).unwrap();
    }

    async fn next(&mut self) -> (String, Instant) {
        self.seen.recv().await.unwrap()
    }

    /// Ends it, and gives what was sent, refused, too old, and failed, and how many reports are left.
    async fn end(self) -> ([u64; 4], u64) {
        self.stop.cancel();
        self.task.await.unwrap();
        let Counts { sent, refused, too_old, failures, .. } = &*self.counts;
        ([sent.get(), refused.get(), too_old.get(), failures.get()], self.spool.kept().reports)
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_that_fails_comes_again_later_and_later_and_before_the_next_one() {
    let mut setting = Setting::start(vec![failed(None); 14], 6_000);
    setting.put(&["1", "2"]);
    let mut last = None;
    for attempt in 0..15_u32 {
        let (text, at) = setting.next().await;
        assert_eq!(text, "1", "attempt {attempt}");
        if let Some(last) = last.replace(at) {
            let least = (RETRY_PAUSE_MIN * 2_u32.pow(attempt - 1)).min(RETRY_PAUSE_MAX / 2);
            let pause = at - last;
            // Timers of tokio are exact to a millisecond.
            assert!(pause >= least && pause <= least * 2 + Duration::from_millis(2), "attempt {attempt}: {pause:?}");
        }
    }
    assert_eq!(setting.next().await.0, "2");
    assert_eq!(setting.end().await, ([2, 0, 0, 14], 0));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_may_ask_for_a_longer_pause_within_bounds() {
    let table = [(30, 30), (3_600, 3_600), (3_601, 3_600), (u64::MAX, 3_600)];
    for (asked, least) in table {
        let mut setting = Setting::start(vec![failed(Some(asked))], 6_000);
        setting.put(&["1"]);
        let first = setting.next().await.1;
        let pause = setting.next().await.1 - first;
        let least = Duration::from_secs(least);
        assert!(pause >= least && pause <= least + Duration::from_millis(2), "{asked}: {pause:?}");
        assert_eq!(setting.end().await, ([1, 0, 0, 1], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_dropped_and_the_next_one_comes() {
    let refused = Answer::Refused("status 400".into());
    let mut setting = Setting::start(vec![refused.clone(), failed(None), refused, Answer::Taken], 6_000);
    setting.put(&["1", "2", "3"]);
    for expected in ["1", "2", "2", "3"] {
        assert_eq!(setting.next().await.0, expected);
    }
    assert_eq!(setting.end().await, ([1, 2, 0, 1], 0));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_in_any_minute() {
    let mut setting = Setting::start(Vec::new(), 3);
    setting.put(&["1", "2", "3", "4", "5", "6", "7"]);
    let mut times = Vec::new();
    for _ in 0..7 {
        times.push(setting.next().await.1);
    }
    for window in times.windows(4) {
        assert!(window[3] - window[0] >= MINUTE, "{times:?}");
    }
    assert!(times[6] - times[0] < MINUTE * 2 + Duration::from_secs(1), "{times:?}");
    assert_eq!(setting.end().await, ([7, 0, 0, 0], 0));
}

/// An answer that the spool cannot note is noted when it can: nothing is sent, or counted, a second time.
#[tokio::test(start_paused = true)]
async fn a_report_that_has_its_answer_is_not_sent_again_while_the_disk_is_full() {
    let refused = Answer::Refused("status 400".into());
    for (answers, counts) in [(vec![], [2, 0, 0, 0]), (vec![refused], [1, 1, 0, 0]), (vec![failed(None)], [2, 0, 0, 1])]
    {
        let mut setting = Setting::start(answers.clone(), 6_000);
        setting.take_notes(false);
        setting.put(&["1", "2"]);
        for _ in 0..counts[3] {
            assert_eq!(setting.next().await.0, "1", "{answers:?}");
        }
        assert_eq!(setting.next().await.0, "1", "{answers:?}");
        // Time passes when every task waits.
        sleep(SPOOL_PAUSE * 20).await;
        setting.take_notes(true);
        assert_eq!(setting.next().await.0, "2", "{answers:?}");
        assert_eq!(setting.end().await, (counts, 0), "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_not_sent() {
    let mut setting = Setting::start(vec![failed(None)], 6_000);
    setting.put(&["1", "2"]);
    assert_eq!(setting.next().await.0, "1");
    *setting.time.lock().unwrap() += REPORT_AGE_MAX + Duration::from_millis(1);
    tokio::time::advance(AGE_IGNORED_FOR).await;
    setting.put(&["3"]);
    // Neither the one that was tried nor the one behind it.
    assert_eq!(setting.next().await.0, "3");
    assert_eq!(setting.end().await, ([1, 0, 2, 1], 0));
}

/// A clock that was set, or may be wrong since the machine has started, drops nothing.
#[tokio::test(start_paused = true)]
async fn nothing_is_too_old_by_a_clock_that_may_be_wrong() {
    let (old, bit) = (REPORT_AGE_MAX + Duration::from_millis(1), Duration::from_millis(1));
    let start = AGE_IGNORED_FOR;
    // how far the clock goes, how far another one stays behind, the time since the start, whether that is too old
    let table = [
        (old, Duration::ZERO, start, true),
        (old, Duration::ZERO, Duration::ZERO, false),
        (old, Duration::ZERO, start.saturating_sub(RETRY_PAUSE_MAX), false),
        (old, old, start, false),
        (old, bit, start, false),
        (old * 500, old * 500, start, false),
        (old * 500, old, start, false),
        (REPORT_AGE_MAX.saturating_sub(bit), Duration::ZERO, start, false),
        // Behind the moment in which the report came.
        (Duration::ZERO, old, start, false),
    ];
    for (ahead, behind, since, too_old) in table {
        let mut setting = Setting::start(vec![failed(None)], 6_000);
        setting.put(&["1"]);
        assert_eq!(setting.next().await.0, "1");
        *setting.time.lock().unwrap() += ahead;
        *setting.behind.lock().unwrap() = behind;
        tokio::time::advance(since).await;
        setting.put(&["2"]);
        let sent = if too_old { vec!["2"] } else { vec!["1", "2"] };
        for text in &sent {
            assert_eq!(setting.next().await.0, *text, "{ahead:?} {behind:?} {since:?}");
        }
        let counts = [sent.len() as u64, 0, u64::from(too_old), 1];
        assert_eq!(setting.end().await, (counts, 0), "{ahead:?} {behind:?} {since:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_stops_in_the_middle_of_a_pause_and_keeps_what_waits() {
    let mut setting = Setting::start(vec![failed(Some(3_600))], 6_000);
    setting.put(&["1", "2"]);
    setting.next().await;
    let before = Instant::now();
    assert_eq!(setting.end().await, ([0, 0, 0, 1], 2));
    assert!(before.elapsed() < Duration::from_secs(1), "it did not wait for the next attempt");
}

/// From the first answer that is none to the first report that is taken, with the last answer.
#[tokio::test(start_paused = true)]
async fn what_a_receiver_answers_is_told_until_it_takes_a_report() {
    let answers = vec![Answer::Refused("status 410".into()), failed(None), failed(None), Answer::Taken];
    let mut setting = Setting::start(answers, 6_000);
    let begin = *setting.time.lock().unwrap();
    assert_eq!(setting.counts.condition.trouble(), None);
    setting.put(&["1", "2"]);
    for (why, later) in [(Some("status 410"), 10), (Some("status 503"), 20), (Some("status 503"), 30), (None, 40)] {
        // The task gives way only when it has noted what came of it.
        setting.next().await;
        let told = setting.counts.condition.trouble().map(|trouble| (trouble.since, trouble.why.to_string()));
        assert_eq!(told, why.map(|why| (begin, why.to_owned())), "{later}");
        *setting.time.lock().unwrap() = begin + Duration::from_secs(later);
    }
    assert_eq!(setting.end().await, ([1, 1, 0, 2], 0));
}
