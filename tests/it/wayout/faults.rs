//! Parents that do not connect: what the client is told, what the event says, and that nothing got through.

use super::*;
use crate::support::parent::answers;
use pinproxy::upstream::parent::{PARENT_FIELDS_MAX, PARENT_HEAD_OCTETS_MAX};

/// A parent and what comes of it.
struct Case {
    scheme: &'static str,
    steps: Vec<Step>,
    status: u16,
    error: &'static str,
    class: FailureClass,
    /// Behind the name of the parent.
    words: String,
    /// `received-status` of RFC 9209.
    received: Option<u16>,
}

fn case(scheme: &'static str, steps: Vec<Step>, error: &'static str, words: impl Into<String>) -> Case {
    let (class, received) = (FailureClass::Unreachable, None);
    Case { scheme, steps, status: 502, error, class, words: words.into(), received }
}

fn refusal(reply: &str, error: &'static str, words: &str, received: u16) -> Case {
    let head = format!("HTTP/1.1 {reply}\r\nContent-Length: 4\r\n\r\nbody");
    Case { received: Some(received), ..case("http", answers(head), error, words) }
}

fn socks_reply(reply: u8, error: &'static str, words: &str) -> Case {
    let steps = vec![
        Step::Read(3),
        Step::Write(vec![5, 0]),
        Step::Request,
        Step::Write(vec![5, reply, 0, 1, 0, 0, 0, 0, 0, 0]),
    ];
    case("socks5", steps, error, format!("refuses: {words} (SOCKS reply {reply})"))
}

fn http() -> Vec<Case> {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(PARENT_HEAD_OCTETS_MAX));
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(PARENT_FIELDS_MAX + 1));
    let too_much =
        format!("answers with a head of more than {PARENT_HEAD_OCTETS_MAX} octets or {PARENT_FIELDS_MAX} fields");
    let gateway = refusal("504 Gateway Timeout", "connection_timeout", "refuses: it answers 504 Gateway Timeout", 504);
    let long_words = format!("refuses: it answers 403 {}", "x".repeat(80));
    let circle = "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: far; error=proxy_loop_detected; details=\"x\"\r\n\r\n";
    let words_of_circle = "leads in a circle: a proxy behind it has seen this CONNECT before (proxy_loop_detected)";
    vec![
        refusal("403 Forbidden", "http_request_error", "refuses: it answers 403 Forbidden", 403),
        refusal("502 Bad Gateway", "destination_unavailable", "refuses: it answers 502 Bad Gateway", 502),
        Case { status: 504, ..gateway },
        refusal("301 Moved", "destination_unavailable", "refuses: it answers 301 Moved", 301),
        refusal(
            "101 Switching Protocols",
            "destination_unavailable",
            "refuses: it answers 101 Switching Protocols",
            101,
        ),
        refusal(&format!("403 {}", "x".repeat(200)), "http_request_error", &long_words, 403),
        refusal("403 caf\u{e9}", "http_request_error", "refuses: it answers 403 Forbidden", 403),
        refusal("599", "destination_unavailable", "refuses: it answers 599", 599),
        case(
            "http",
            answers("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"),
            "proxy_configuration_error",
            "wants credentials, and has been given none",
        ),
        case("http", answers(circle), "proxy_loop_detected", words_of_circle),
        case("http", answers(long), "http_response_header_section_size", &*too_much),
        case("http", answers(fields), "http_response_header_section_size", &*too_much),
        case("http", answers("hello\r\n\r\n"), "http_protocol_error", "does not answer as a proxy of this kind does"),
        case("http", answers([0; 600]), "http_protocol_error", "does not answer as a proxy of this kind does"),
        case(
            "http",
            answers("HTTP/1.1 20"),
            "http_response_incomplete",
            "closed the connection before it had answered",
        ),
        case("http", answers(""), "http_response_incomplete", "closed the connection before it had answered"),
        case("http", vec![], "http_response_incomplete", "closed the connection before it had answered"),
    ]
}

fn socks() -> Vec<Case> {
    let garbage = "does not answer as a proxy of this kind does";
    let closed = "closed the connection before it had answered";
    let with = |octets: &[u8]| vec![Step::Read(3), Step::Write(octets.to_vec())];
    vec![
        socks_reply(1, "destination_unavailable", "general failure"),
        socks_reply(2, "http_request_error", "not allowed by its rules"),
        socks_reply(3, "destination_ip_unroutable", "network unreachable"),
        socks_reply(4, "destination_ip_unroutable", "host unreachable"),
        socks_reply(5, "connection_refused", "connection refused"),
        socks_reply(6, "destination_ip_unroutable", "TTL expired"),
        socks_reply(7, "proxy_configuration_error", "it does not take CONNECT"),
        socks_reply(8, "proxy_configuration_error", "it does not take this type of address"),
        socks_reply(77, "proxy_configuration_error", "for a reason that has no name"),
        case("socks5", with(&[5, 0xff]), "proxy_configuration_error", "wants credentials, and has been given none"),
        // It chooses what was not offered.
        case("socks5", with(&[5, 2]), "http_protocol_error", garbage),
        case("socks5", with(&[4, 0]), "http_protocol_error", garbage),
        case("socks5", with(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "http_protocol_error", garbage),
        case("socks5", with(&[5]), "http_response_incomplete", closed),
        case(
            "socks5",
            [with(&[5, 0]), vec![Step::Request, Step::Write(vec![5, 0, 0, 9, 0, 0])]].concat(),
            "http_protocol_error",
            garbage,
        ),
        case(
            "socks5",
            [with(&[5, 0]), vec![Step::Request, Step::Write(vec![5, 0, 0, 3, 200, b'a'])]].concat(),
            "http_response_incomplete",
            closed,
        ),
    ]
}

async fn hold(bank: &Bank, case: &Case, parent: &ParentServer, url: &str, shown: &str) {
    let mut proxy = bank.builder(&format!("parent = \"{url}\""), "").start().await;
    let (reply, event) = asked(&mut proxy, &format!("{HOST}:443")).await;
    let what = format!("{shown} {:?}: {} {event}", case.steps, reply.text());
    assert_eq!((reply.status, proxy_error(&reply)), (case.status, case.error), "{what}");
    let proxy_status = reply.header("proxy-status").expect("every refusal has one");
    let received = case.received.map(|status| format!("; received-status={status}; details="));
    assert!(received.is_none_or(|part| proxy_status.contains(&part)), "{proxy_status}");
    let seen =
        (event.stage, event.decision, event.failure_class, event.status, event.parent.as_deref().map(String::as_str));
    assert_eq!(seen, (Stage::Dial, Decided::Failed, Some(case.class), Some(case.status), None), "{what}");
    let detail = event.detail.as_deref().expect("a detail");
    assert!(detail.starts_with(&format!("the parent proxy {shown} {}", case.words)), "{what}");
    assert!(detail.len() < 300 && detail.chars().all(|c| !c.is_control()), "{detail:?}");
    assert!(flat(&reply).contains("[upstream] parent"), "it says who can do what: {what}");
    assert_eq!(parent.asked().len(), 1, "it is not asked twice: {what}");
}

#[tokio::test]
async fn what_a_parent_can_answer() {
    let bank = Bank::new();
    for case in http().into_iter().chain(socks()) {
        let parent = ParentServer::start(case.steps.clone()).await;
        let url = parent.url(case.scheme);
        hold(&bank, &case, &parent, &url, &url).await;
    }
}

#[tokio::test]
async fn credentials_that_a_parent_does_not_take_are_never_told() {
    let bank = Bank::new();
    let words = "wants other credentials than those that it was given";
    let error = "proxy_configuration_error";
    let asked_again = vec![Step::Read(4), Step::Write(vec![5, 2]), Step::Read(14), Step::Write(vec![1, 1])];
    let cases = [
        case("http", answers("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n"), error, words),
        refusal(
            "403 not s3cret12, nor ada:s3cret12 (YWRhOnMzY3JldDEy)",
            "http_request_error",
            "refuses: it answers 403 not ***, nor *** (***)",
            403,
        ),
        case("socks5", asked_again, error, words),
        case("socks5", vec![Step::Read(4), Step::Write(vec![5, 0xff])], error, words),
    ];
    for case in cases {
        let parent = ParentServer::start(case.steps.clone()).await;
        let url = format!("{}://ada:s3cret12@{}", case.scheme, parent.addr);
        hold(&bank, &case, &parent, &url, &parent.url(case.scheme)).await;
    }
}

#[tokio::test]
async fn a_parent_that_says_nothing_has_its_time() {
    let bank = Bank::new();
    let silent = ["http", "https", "socks5"].map(|scheme| (scheme, vec![Step::Wait]));
    let dripping = ("http", vec![Step::Head, Step::Write(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), Step::Wait]);
    for (scheme, steps) in silent.into_iter().chain([dripping]) {
        let parent = ParentServer::start(steps).await;
        let upstream = format!("connect_timeout = \"300ms\"\nparent = \"{}\"", parent.url(scheme));
        let mut proxy = bank.builder(&upstream, "").start().await;
        let (reply, event) = asked(&mut proxy, &format!("{HOST}:443")).await;
        assert_eq!((reply.status, proxy_error(&reply)), (504, "connection_timeout"), "{scheme}");
        let seen = (event.stage, event.decision, event.failure_class);
        assert_eq!(seen, (Stage::Dial, Decided::Failed, Some(FailureClass::Timeout)), "{scheme}");
        let words = format!("the parent proxy {} has not opened a connection within 300ms", parent.url(scheme));
        assert_eq!(event.detail.as_deref(), Some(words.as_str()));
    }
}

#[tokio::test]
async fn an_https_parent_has_to_be_who_it_is_said_to_be() {
    let bank = Bank::new();
    let stranger = Ca::root("a stranger");
    let address = [127, 0, 0, 1].into();
    let current = Leaf::named("parent.example").ip(address);
    let table = [
        (current.clone().signed_by(&stranger), "no trust anchor has issued its certificate"),
        (Leaf::named("other.example").signed_by(&bank.root), "its certificate is for another name"),
        (
            current.validity(crate::support::pki::Validity::expired()).signed_by(&bank.root),
            "its certificate has expired",
        ),
    ];
    for (chain, words) in table {
        let parent = ParentServer::start_tls(connects(1), &chain).await;
        let mut proxy = bank.builder(&format!("parent = \"{}\"", parent.url("https")), "").start().await;
        let (reply, event) = asked(&mut proxy, &format!("{HOST}:443")).await;
        assert_eq!((reply.status, proxy_error(&reply)), (502, "tls_certificate_error"), "{words}");
        let told = format!("the parent proxy {} cannot be trusted: {words}", parent.url("https"));
        assert_eq!(event.detail.as_deref(), Some(told.as_str()));
        assert_eq!(parent.asked()[0].read, b"", "nothing was said to it");
    }
    // No TLS at all.
    let parent =
        ParentServer::start(vec![Step::Read(5), Step::Write(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())]).await;
    let mut proxy = bank.builder(&format!("parent = \"{}\"", parent.url("https")), "").start().await;
    let (reply, _) = asked(&mut proxy, &format!("{HOST}:443")).await;
    assert_eq!((reply.status, proxy_error(&reply)), (502, "tls_protocol_error"));
}

#[tokio::test]
async fn a_parent_that_cannot_be_reached() {
    let bank = Bank::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let builder = bank.builder(&format!("parent = \"http://{nobody}\""), "");
    let (reply, event) = asked(&mut builder.start().await, &format!("{HOST}:443")).await;
    assert_eq!((reply.status, proxy_error(&reply)), (502, "destination_unavailable"));
    let words = format!("the parent proxy http://{nobody} cannot be reached: ");
    assert!(event.detail.as_deref().is_some_and(|detail| detail.starts_with(&words)), "{event}");
    let builder = bank.builder("parent = \"http://nowhere.example:3128\"", "").no_such_name("nowhere.example");
    let (reply, event) = asked(&mut builder.start().await, &format!("{HOST}:443")).await;
    assert_eq!(
        (reply.status, proxy_error(&reply), event.failure_class),
        (502, "dns_error", Some(FailureClass::Unreachable))
    );
    let builder = bank.builder("connect_timeout = \"200ms\"\nparent = \"http://nowhere.example:3128\"", "");
    let (reply, _) = asked(&mut builder.silent_name("nowhere.example").start().await, &format!("{HOST}:443")).await;
    assert_eq!((reply.status, proxy_error(&reply)), (504, "connection_timeout"));
}
