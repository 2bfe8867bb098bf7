//! How it ends when it cannot begin, and what it writes.

use super::*;

#[tokio::test]
async fn what_cannot_be_run() {
    let scene = Scene::start().await;
    let plain = scene.user.file("plain", "echo\n");
    let folder = scene.user.folder().to_owned();
    let table = [("no-such-command".into(), 127), (folder.join("none"), 127), (plain, 126), (folder, 126)];
    for (command, code) in table {
        let done = scene.exec(&[]).arg(&command).run().await.with_code(code);
        assert!(done.err.contains(&format!("pinproxy: cannot run {}: ", command.display())), "{done}");
        assert_eq!(done.out, "");
        assert!(nothing_left(&scene.user));
    }
}

#[tokio::test]
async fn what_keeps_it_from_starting() {
    let user = User::new();
    let broken = user.file("broken.toml", "listen = 1\n");
    let broken = broken.to_str().expect("a path");
    let pinned = user.file("pinned.toml", &pinset(&Key::p256().pin()));
    let pinned = pinned.to_str().expect("a path");
    let pin = format!("--pin={HOST}={}", Key::p256().pin());
    let table: [(&[&str], i32, &str); 9] = [
        (&["--", "true"], 0, "pinproxy: 0 hosts, 0 connections, no violation of pins\n"),
        (&[], 2, "required"),
        (&["true"], 2, "unexpected argument 'true'"),
        (&["--pin", "api.bank.example", "--", "true"], 2, "write HOST=PIN"),
        (&["--pin", "api.bank.example=sha1/x", "--", "true"], 2, "SHA-1 pins are refused"),
        (&["--config", broken, "--", "true"], 2, "the configuration cannot be used"),
        (&["--config", pinned, &pin, "--", "true"], 2, "the configuration has a rule for this host (site)"),
        (&["--config", "/none/pinproxy.toml", "--", "true"], 3, "/none/pinproxy.toml"),
        (&["--json", "/none/summary", "--", "true"], 3, "cannot open /none/summary"),
    ];
    for (options, code, says) in table {
        let done = exec(&user, options).run().await.with_code(code);
        done.says(&[says]);
        assert!(nothing_left(&user), "{options:?}");
    }
}

/// Nothing of what the run needs is on standard output, which is the command's.
#[tokio::test]
async fn the_summary_as_json_and_the_log_in_a_file() {
    let Some(curl) = process::find("curl") else { return };
    let scene = Scene::start().await;
    let (json, log) = (scene.user.folder().join("summary.json"), scene.user.file("log", "before\n"));
    let wrong = Key::p256().pin();
    let options = [&scene.pin(&wrong), "--quiet", "--json", json.to_str().unwrap(), "--log", log.to_str().unwrap()];
    let done = scene.exec(&options).arg(&curl).arg("-s").arg(scene.url()).run().await.with_code(56);
    assert_eq!((done.out.as_str(), done.err.as_str()), ("", ""));
    let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let host = &summary["hosts"][0];
    assert_eq!((summary["exit-code"].as_u64(), summary["violations"].as_u64()), (Some(56), Some(1)), "{summary}");
    assert_eq!((host["hostname"].as_str(), host["port"].as_u64()), (Some(HOST), Some(scene.site.origin.port().into())));
    assert_eq!((host["refused"].as_u64(), host["failure-class"].as_str()), (Some(1), Some("pin")));
    assert_eq!(host["expected-pins"], serde_json::json!([wrong]));
    assert_eq!(host["seen-pins"][0], scene.site.chain.pin());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.starts_with("before\n") && log.contains(" WARN session: refuse localhost:"), "{log}");
}

/// Reports, files of events and doors of the service stay the service's.
#[tokio::test]
async fn a_configuration_of_a_service() {
    let Some(curl) = process::find("curl") else { return };
    let mut scene = Scene::start().await;
    let port = scene.site.origin.port();
    let more = format!(
        "[access]\nclients = [\"192.0.2.0/24\"]\nports_allow = [{port}]\ndestinations_allow = [\"127.0.0.1\"]\n[log]\nformat = \"json\"\n\
         access = \"access.jsonl\"\n[reports]\nfile = \"reports.jsonl\"\n[admin]\naddress = \"127.0.0.1:1\"\n"
    );
    scene.config = scene.site.trusted_by(&scene.user, &more);
    let done = scene.exec(&[&scene.right()]).arg(curl).arg("-sS").arg(scene.url()).run().await.with_code(0);
    assert_eq!(done.out, scene.answer());
    assert!(!done.err.contains("W20"), "something is pinned: {done}");
    for name in ["access.jsonl", "reports.jsonl"] {
        assert!(!scene.user.folder().join(name).exists(), "{name}");
    }
}

/// A process that the command leaves behind does not keep the run from its end.
#[tokio::test]
async fn what_the_command_leaves_behind() {
    if process::find("openssl").is_none() {
        return;
    }
    let scene = Scene::start().await;
    let connect =
        format!("openssl s_client -proxy \"${{https_proxy#http://}}\" -connect {HOST}:{}", scene.site.origin.port());
    // The shell goes when the handshake is done; the client stays, for its input does not end.
    let script = format!("mkfifo p q; exec 9<>p; {connect} <p >q 2>/dev/null & grep -q -m1 'Verify return' <q; exit 5");
    let start = scene.exec(&[&scene.right()]).folder(scene.user.folder()).args(["sh", "-c", &script]);
    let done = start.run().await.with_code(5);
    done.says(&["\npinproxy: 1 host, 1 connection, no violation of pins\n"]);
    assert!(nothing_left(&scene.user));
}
