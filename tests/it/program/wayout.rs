//! The way out, by the program: what is told of it, what a probe does, what a reload takes over.

use super::reload::reply;
use super::*;

use crate::support::parent::{ParentServer, answers, connects};
use crate::support::pki::Validity;
use serde_json::{Value, json};
use std::time::Duration;

/// A host that nobody but the parent knows.
const FAR: &str = "api.far.invalid";

fn private(user: &User, name: &str, text: &str) {
    let path = user.file(name, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("the key is private");
}

/// The one host of a probe, and what the run ended with.
async fn probed(user: &User, text: &str) -> (Option<i32>, Value) {
    let path = user.file("pinproxy.toml", text);
    let start = user.pinproxy(["config", "check", "--probe", "--json"]).arg(path).env("PARENT_PASSWORD", "s3%40cret");
    let ended = start.run().await;
    assert!(!ended.out.contains("cret") && !ended.err.contains("cret"), "{ended}");
    let told: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended}"));
    (ended.code, told["probed"][0].clone())
}

/// By the parent, with the certificate that the host asks for.
#[tokio::test]
async fn a_probe_takes_the_way_of_a_session() {
    let (user, root, clients) = (User::new(), Ca::root("A private CA"), Ca::root("Clients"));
    let chain = Leaf::named(FAR).signed_by(&root);
    let origin = Origin::start(OriginConfig::new(chain.clone()).client_certificates(&clients)).await;
    let client = Leaf::named("client").extended_key_usages(&[rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    let client = client.signed_by(&clients);
    user.file("client.pem", &client.pem());
    private(&user, "client.key", &client.key.private_pem());
    user.file("roots.pem", &root.pem());
    let parent = ParentServer::start(connects(origin.port())).await;
    let refusing = ParentServer::start(answers("HTTP/1.1 403 Forbidden\r\n\r\n")).await;
    let text = |parent: &ParentServer| {
        format!(
            "[upstream]\nroots = \"./roots.pem\"\nparent = \"http://ada:${{PARENT_PASSWORD}}@{}\"\n\
             client_certificates = [{{ hosts = [\"*.far.invalid\"], certificate = \"client.pem\", key = \"client.key\" }}]\n\
             [[pinset]]\nname = \"far\"\nhosts = [\"{FAR}\"]\npins = [\"{}\"]\nbackup = [\"{}\"]\n",
            parent.addr,
            chain.pin(),
            Key::p256().pin()
        )
    };
    let (code, seen) = probed(&user, &text(&parent)).await;
    assert_eq!((code, &seen["outcome"], &seen["address"]), (Some(0), &json!("accepted"), &Value::Null), "{seen}");
    let [asked] = parent.asked().try_into().expect("one connection");
    assert_eq!(asked.line(), format!("CONNECT {FAR}:443 HTTP/1.1"));
    // printf 'ada:s3@cret' | base64
    assert_eq!(asked.field("proxy-authorization").as_deref(), Some("Basic YWRhOnMzQGNyZXQ="));
    let tally = origin.until_ended(1).await.unwrap();
    assert_eq!(tally.handshakes_finished(), 1, "the host was shown the certificate");
    let (code, seen) = probed(&user, &text(&refusing)).await;
    let words = format!("the parent proxy http://{} refuses: it answers 403 Forbidden", refusing.addr);
    assert_eq!((code, &seen["outcome"], &seen["detail"]), (Some(3), &json!("unreachable"), &json!(words)), "{seen}");
}

#[tokio::test]
async fn a_password_is_neither_shown_nor_logged() {
    let user = User::new();
    let parent = ParentServer::start(answers("HTTP/1.1 407 No\r\n\r\n")).await;
    let text = format!("[upstream]\nparent = \"http://ada:s3cret@{}\"\n[log]\nlevel = \"trace\"\n", parent.addr);
    let path = user.file("pinproxy.toml", &text);
    let shown = user.pinproxy(["config", "show"]).arg(&path).run().await.with_code(0);
    assert!(shown.out.contains(&format!("parent = \"http://ada:***@{}\"", parent.addr)), "{shown}");
    let checked = user.pinproxy(["config", "check"]).arg(&path).run().await;
    let program = Program::start(user.run(Some(&path))).await;
    let site = Site::start(Behaviour::Echo).await;
    let (status, reason) = reply(&program, &site).await;
    assert_eq!(
        (status, reason.ends_with("wants other credentials than those that it was given")),
        (502, true),
        "{reason}"
    );
    let greeting = program.greeting.clone();
    let ended = program.stop().await;
    assert_eq!(parent.asked().len(), 1);
    for text in [&shown.out, &shown.err, &checked.out, &checked.err, &greeting, &ended.out, &ended.err] {
        assert!(!text.contains("s3cret") && !text.contains("YWRhOnMzY3JldA"), "{text}");
    }
}

/// Parent, exceptions and client certificates are those of the generation; files that cannot be used change nothing.
#[tokio::test]
async fn a_reload_takes_another_way() {
    let user = User::new();
    let site = Site::start(Behaviour::Echo).await;
    let refusing = ParentServer::start(answers("HTTP/1.1 403 Forbidden\r\n\r\n")).await;
    let pinned = pinset(&site.chain.pin());
    let path = site.trusted_by(&user, &pinned);
    let mut program = Program::start(user.run(Some(&path))).await;
    let established = (200, "Connection established".to_owned());
    assert_eq!(reply(&program, &site).await, established);

    site.trusted_by(&user, &format!("parent = \"http://{}\"\n{pinned}", refusing.addr));
    program.running.signal("HUP").await;
    program.running.err.until("generation 2 with 1 rules is in force").await;
    let (status, reason) = reply(&program, &site).await;
    assert_eq!((status, refusing.asked().len()), (502, 1), "{reason}");

    let broken = "client_certificates = [{ hosts = [\"a.example\"], certificate = \"none.pem\", key = \"none.key\" }]";
    site.trusted_by(&user, &format!("{broken}\n{pinned}"));
    program.running.signal("HUP").await;
    let told = program.running.err.until("E87").await;
    assert!(told.contains("reload refused, generation 2 stays in force"), "{told}");
    assert_eq!(reply(&program, &site).await.0, 502);

    let exception = format!("parent = \"http://{}\"\nno_parent = [\"{HOST}\"]\n{pinned}", refusing.addr);
    site.trusted_by(&user, &exception);
    program.running.signal("HUP").await;
    program.running.err.until("generation 3 with 1 rules is in force").await;
    assert_eq!(reply(&program, &site).await, established);
    program.stop().await;
}

/// What a start refuses `config check` tells, at its place.
#[tokio::test]
async fn client_certificates_are_checked_before_the_start() {
    let user = User::new();
    let ca = Ca::root("Clients");
    let soon = Leaf::named("soon").validity(Validity::ends_in(Duration::from_secs(5 * 24 * 60 * 60))).signed_by(&ca);
    user.file("soon.pem", &soon.pem());
    private(&user, "soon.key", &soon.key.private_pem());
    private(&user, "other.key", &Key::p256().private_pem());
    user.file("open.key", &soon.key.private_pem());
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(user.folder().join("open.key"), open).expect("others may read it");
    for (key, code, found) in [
        ("soon.key", 0, vec![(2, "W87", "the client certificate of CN=soon ends on ")]),
        ("open.key", 1, vec![(2, "W87", ""), (2, "E87", "gives others more than they may have")]),
        ("other.key", 1, vec![(2, "W87", ""), (2, "E87", "cannot be used together")]),
    ] {
        let certificate = format!("{{ hosts = [\"a.example\"], certificate = \"soon.pem\", key = \"{key}\" }}");
        let path = user.file("pinproxy.toml", &format!("[upstream]\nclient_certificates = [{certificate}]\n"));
        let checked = user.pinproxy(["config", "check", "--json"]).arg(&path).run().await.with_code(code);
        let told: Value = serde_json::from_str(&checked.out).expect("JSON");
        for (line, code, words) in found {
            let findings = told["diagnostics"].as_array().expect("findings");
            let found = findings.iter().find(|finding| finding["code"] == code);
            let found = found.unwrap_or_else(|| panic!("{code}: {checked}"));
            assert!(found["message"].as_str().is_some_and(|message| message.contains(words)), "{found}");
            assert_eq!(found["line"], line, "{found}");
        }
        if code != 0 {
            let ended = user.run(Some(&path)).run().await.with_code(3);
            assert!(ended.err.contains("E87"), "{ended}");
        }
    }
}
