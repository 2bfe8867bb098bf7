//! `pinproxy ca rotate`, and a proxy that runs meanwhile.

use super::renewed::{reload, trusts};
use super::*;

use crate::support::pki::{Validity, now};
use crate::support::process::Finished;

/// `pinproxy ca rotate` on the CA of a user.
async fn rotate(user: &User, arguments: &[&str]) -> Finished {
    user.pinproxy(["ca", "rotate"]).args(arguments).run().await
}

async fn status(user: &User) -> serde_json::Value {
    let done = rotate(user, &["--status", "--json"]).await.with_code(0);
    serde_json::from_str(&done.out).expect("JSON")
}

#[tokio::test]
async fn what_cannot_be_asked_or_done() {
    let user = User::new();
    let missing = rotate(&user, &["--status"]).await.with_code(3);
    missing.says(&["the CA directory"]);
    assert!(!user.ca().exists(), "nothing is made");
    Program::start(user.run(None)).await.stop().await;
    let [day, far] = ["2020-01-31", "2999-01-31T06:00:00+02:00"];
    let table: [(&[&str], i32, &str); 15] = [
        (&[], 2, "Usage: pinproxy ca rotate"),
        (&["--in", "30d", "--from", day], 2, "cannot be used with"),
        (&["--in", "30d", "--status"], 2, "cannot be used with"),
        (&["--in", "30d", "--force"], 2, "cannot be used with"),
        (&["--finish", "--abort"], 2, "cannot be used with"),
        (&["--status", "--algorithm", "p256"], 2, "cannot be used with"),
        (&["--in", "30d", "--algorithm", "ed25519"], 2, "invalid value 'ed25519'"),
        (&["--in", "soon"], 2, "invalid value 'soon'"),
        (&["--from", "31.1.2027"], 2, "write a day, such as 2027-01-31"),
        (&["--from", day], 2, "the next CA cannot sign from 2020-01-31T00:00:00Z on, which is past"),
        (&["--from", far], 2, "before the next one would sign from 2999-01-31T04:00:00Z on"),
        (&["--finish"], 1, "no rotation runs in"),
        (&["--abort", "--force"], 1, "no rotation runs in"),
        (&["--in", "30d", "--ca-dir", "nowhere"], 3, "the CA directory"),
        (&["--in", "30d", "--config", "nowhere.toml"], 3, "nowhere.toml"),
    ];
    for (arguments, code, says) in table {
        let done = rotate(&user, arguments).await;
        assert_eq!(done.code, Some(code), "{arguments:?} {done}");
        assert!(done.err.contains(says), "{says:?} {arguments:?} {done}");
    }
    assert_eq!(std::fs::read_dir(user.ca()).unwrap().count(), 2, "the CA and its key");
}

/// The whole of it, with a proxy that runs all the time: begun, given up, begun anew, taken over, ended.
#[tokio::test]
async fn a_running_proxy_goes_along() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let path = site.trusted_by(&user, "[admin]\nsocket = \"control.sock\"\n");
    let mut program = Program::start(user.run(Some(&path))).await;
    let file = |name: &str| user.ca().join(name);
    let (old, next) = (user.folder().join("old.pem"), file("ca-next.pem"));
    std::fs::copy(file("ca.pem"), &old).unwrap();

    let begun = rotate(&user, &["--in", "30d"]).await.with_code(0);
    for part in ["the next CA signs from 20", "\n  signs now   O=pinproxy, CN=", "\n  until then  have clients trust "]
    {
        assert!(begun.out.contains(part), "{part:?} {begun}");
    }
    assert!(!begun.out.contains("warning"), "{begun}");
    rotate(&user, &["--in", "30d"]).await.with_code(1).says(&["a rotation runs already"]);
    rotate(&user, &["--finish"]).await.with_code(1).says(&["and not before; --force finishes at once"]);
    // Before the reload, nobody knows of it.
    assert!(trusts(&program, &site, &old).await && !trusts(&program, &site, &next).await);
    reload(&mut program, "the CA is the same, the next one is to sign from ").await;
    assert!(trusts(&program, &site, &old).await && trusts(&program, &site, &next).await);
    let told = status(&user).await;
    assert!(told["has-taken-over"] == false && told["next"]["fingerprint"].is_string(), "{told}");
    let socket = user.folder().join("control.sock");
    let shown = user.pinproxy(["ctl", "status", "--socket"]).arg(&socket).run().await.with_code(0);
    let fingerprint = told["next"]["fingerprint"].as_str().unwrap();
    assert!(shown.out.contains(&format!("; the next one: SHA-256 {fingerprint}, until ")), "{shown}");

    // Given up.
    let first = user.folder().join("first.pem");
    std::fs::copy(&next, &first).unwrap();
    rotate(&user, &["--abort"]).await.with_code(0);
    reload(&mut program, "the CA is the same, and no other follows").await;
    assert!(trusts(&program, &site, &old).await && !trusts(&program, &site, &first).await);

    // From now on.
    rotate(&user, &["--in", "0s", "--algorithm", "rsa2048"]).await.with_code(0);
    reload(&mut program, "the CA is the same, the next one signs from ").await;
    program.running.err.until("the next CA signs, as it is to from ").await;
    assert!(trusts(&program, &site, &old).await && trusts(&program, &site, &next).await);
    assert_eq!(status(&user).await["has-taken-over"], true);
    rotate(&user, &["--abort"]).await.with_code(1).says(&["the next CA signs since "]);
    rotate(&user, &["--finish"]).await.with_code(1).says(&["the old one stays beside it until "]);
    let new = user.folder().join("new.pem");
    std::fs::copy(&next, &new).unwrap();
    let finished = rotate(&user, &["--finish", "--force"]).await.with_code(0);
    assert!(finished.out.contains("ca-previous.pem; its key has been removed"), "{finished}");
    assert!(trusts(&program, &site, &old).await, "until the reload");
    reload(&mut program, "the CA is another one now: ").await;
    assert!(trusts(&program, &site, &new).await && !trusts(&program, &site, &old).await);
    let same = |one: &Path, other: &Path| std::fs::read(one).unwrap() == std::fs::read(other).unwrap();
    assert!(same(&file("ca.pem"), &new));
    let retired = [&old, &first].map(|path| std::fs::read_to_string(path).unwrap()).concat();
    assert_eq!(std::fs::read_to_string(file("ca-previous.pem")).unwrap(), retired, "the latest first");
    program.stop().await;
    // The start finds what the reload found.
    let program = Program::start(user.run(Some(&path))).await;
    assert!(trusts(&program, &site, &new).await);
    program.stop().await;
}

/// Half a rotation keeps no proxy from running, and what it has in force stays.
#[tokio::test]
async fn a_key_that_is_lost_is_told_at_a_reload_and_stops_a_start() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let path = site.trusted_by(&user, "");
    let mut program = Program::start(user.run(Some(&path))).await;
    rotate(&user, &["--in", "30d"]).await.with_code(0);
    reload(&mut program, "the CA is the same, the next one is to sign from ").await;
    let (old, next, key) = (user.ca().join("ca.pem"), user.ca().join("ca-next.pem"), user.ca().join("ca-next.key"));
    std::fs::remove_file(&key).unwrap();
    reload(&mut program, "the CA in force stays in force, but the next start would fail: ").await;
    program.running.err.until("generation 3 with 0 rules is in force").await;
    assert!(trusts(&program, &site, &old).await && trusts(&program, &site, &next).await);
    program.stop().await;
    let refused = user.run(Some(&path)).run().await.with_code(3);
    refused.says(&["ca-next.key is missing; put it back, or run: pinproxy ca rotate --abort"]);
    rotate(&user, &["--abort"]).await.with_code(0);
    let program = Program::start(user.run(Some(&path))).await;
    assert!(trusts(&program, &site, &old).await);
    program.stop().await;
}

/// The CA that was retired may have been retired because somebody has its key: it does not become an anchor.
#[tokio::test]
async fn a_retired_ca_is_no_anchor_towards_upstreams() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    Program::start(user.run(None)).await.stop().await;
    rotate(&user, &["--in", "30d"]).await.with_code(0);
    rotate(&user, &["--finish", "--force"]).await.with_code(0);
    let retired = user.ca().join("ca-previous.pem");
    let text = format!("extra_roots = [\"private ca.pem\", {:?}]\n", retired.display().to_string());
    site.trusted_by(&user, "");
    let path = user.file("pinproxy.toml", &format!("[upstream]\n{text}"));
    user.run(Some(&path)).run().await.with_code(3).says(&["error[E66]", "ca-previous.pem holds the proxy's own CA"]);
}

/// What clients that trust the old CA alone are in for is told when the rotation begins, and at each start.
#[tokio::test]
async fn what_is_in_store_for_clients_is_told() {
    let user = User::new();
    let soon = Validity::ends_in(std::time::Duration::from_secs(20 * 24 * 60 * 60));
    let own = Ca::builder("The operator's own").path_len(0).validity(soon).self_signed();
    Program::start(user.run(None)).await.stop().await;
    std::fs::write(user.ca().join("ca.pem"), own.pem()).unwrap();
    std::fs::write(user.ca().join("ca.key"), own.key().private_pem()).unwrap();
    let begun = rotate(&user, &["--from", &(now() + time::Duration::days(3)).date().to_string()]).await.with_code(0);
    for part in [
        "warning: the CA that signs now allows no other below it (pathlen:0).",
        "warning: the CA that signs now ends on ",
        "CN=The operator's own, until ",
    ] {
        assert!(begun.out.contains(part), "{part:?} {begun}");
    }
    let program = Program::start(user.run(None)).await;
    let told = value(&program.greeting, "next CA");
    assert!(told.starts_with(&format!("{}, signs from 20", user.ca().join("ca-next.pem").display())), "{told}");
    program.stop().await;
}

/// Root, who does not own the CA of a service, is not led to take it from the service.
#[tokio::test]
async fn who_is_another_user_than_the_proxy_is_told_to_be_that_one() {
    const SERVICE: u32 = 54_321;
    let user = User::new();
    Program::start(user.run(None)).await.stop().await;
    if std::os::unix::fs::chown(user.ca(), Some(SERVICE), None).is_err() {
        process::tell_skipped("only root can give a folder away");
        return;
    }
    for order in [&["--in", "30d"][..], &["--status"], &["--finish"], &["--abort"]] {
        let refused = rotate(&user, order).await.with_code(3);
        refused.says(&["belongs to uid 54321", "if the proxy runs as uid 54321, run this as that user"]);
    }
}
