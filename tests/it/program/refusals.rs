//! What it cannot start with: the exit code, and a message that names the thing and the remedy.

use super::*;

use std::os::unix::fs::PermissionsExt as _;

/// Runs it to its end, which comes at once, and asserts its exit code and that it says nothing on standard output.
async fn fails(start: Start, code: i32, parts: &[&str]) {
    let ended = start.run().await.with_code(code);
    assert_eq!(ended.out, "", "{ended}");
    ended.says(parts);
    assert!(!ended.err.contains("panicked") && !ended.err.contains('\x1b'), "{ended}");
}

#[tokio::test]
async fn help_that_a_newcomer_can_act_on() {
    let user = User::new();
    fails(user.pinproxy::<&str>([]), 2, &["Usage: pinproxy <COMMAND>", "run", "To begin", "  pinproxy run"]).await;
    let help = user.pinproxy(["run", "--help"]).run().await.with_code(0);
    for part in ["--config <FILE>", "--listen <ADDR>", "--ca-dir <DIR>", "127.0.0.1:8080", "Example:\n  pinproxy run"] {
        assert!(help.out.contains(part), "{part:?} is missing in {help}");
    }
    let version = user.pinproxy(["--version"]).run().await.with_code(0);
    assert_eq!(version.out, concat!("pinproxy ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(!user.folder().join("data").exists(), "asking makes no CA");
}

#[tokio::test]
async fn arguments() {
    let user = User::new();
    fails(user.pinproxy(["rum"]), 2, &["unrecognized subcommand 'rum'", "'run'"]).await;
    fails(user.pinproxy(["run", "--confg", "x"]), 2, &["unexpected argument '--confg'", "'--config'"]).await;
    for listen in ["8080", "localhost:8080", "127.0.0.1", "127.0.0.1:99999"] {
        let says = [&format!("invalid value '{listen}' for '--listen <ADDR>'"), "such as 127.0.0.1:8080"];
        fails(user.pinproxy(["run", "--listen", listen]), 2, &says).await;
    }
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let says = [&format!("the listener {listen} is open to other machines"), "[access] clients = ["];
        fails(user.pinproxy(["run", "--listen", listen]), 2, &says).await;
    }
    assert!(!user.folder().join("data").exists(), "nothing is made before the arguments are checked");
}

#[tokio::test]
async fn a_configuration_with_faults_names_all_of_them() {
    let user = User::new();
    let text = "lisener = 1\n[defaults]\nmode = \"enforced\"\n\n[observe]\nstore = \"off\"\n";
    let config = user.file("pinproxy.toml", text);
    let place = |line_column: &str| format!("{}:{line_column}\n", config.display());
    let says = [
        "error[E01]: unknown key \"lisener\" at the top level",
        &place("1:1"),
        "did you mean `listener`?",
        "error[E01]: defaults.mode does not know \"enforced\"",
        &place("3:8"),
        "did you mean \"enforce\"?",
        "error[E18]: not implemented yet: observe",
        &place("5:2"),
        "3 errors in the configuration",
    ];
    fails(user.run(Some(&config)), 2, &says).await;
    assert!(!user.folder().join("data").exists(), "nothing is made before the configuration is checked");
}

#[tokio::test]
async fn a_configuration_open_to_others_says_who_may_come() {
    let user = User::new();
    let config = user.file("pinproxy.toml", "[[listener]]\naddress = \"0.0.0.0:0\"\n");
    let says = ["error[E80]: 0.0.0.0:0 can be reached from other machines", ":2:11\n", "[access]"];
    fails(user.pinproxy(["run", "--config"]).arg(&config), 2, &says).await;
}

#[tokio::test]
async fn files_that_cannot_be_read() {
    let user = User::new();
    for path in [user.folder().join("missing.toml"), user.folder().to_owned()] {
        let says = ["error[E19]: cannot read the configuration: ", &path.display().to_string()];
        fails(user.run(Some(&path)), 3, &says).await;
    }
    let roots = user.file("roots.toml", "[upstream]\nextra_roots = [\"none.pem\"]\n");
    fails(user.run(Some(&roots)), 3, &["cannot read the trust anchors in ", "none.pem: No such file"]).await;
    let report = user.file("report.toml", "[reports]\nfile = \"missing/violations.jsonl\"\n");
    fails(user.run(Some(&report)), 3, &["cannot open ", "missing/violations.jsonl for appending: No such file"]).await;
}

#[tokio::test]
async fn a_port_that_is_taken() {
    let user = User::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let says = [&format!("cannot listen on {address}: Address already in use"), "another port with --listen"];
    fails(user.pinproxy(["run", "--listen", &address]), 3, &says).await;
}

#[tokio::test]
async fn a_ca_that_others_can_use_or_that_is_not_whole() {
    let user = User::new();
    Program::start(user.run(None)).await.stop().await;
    let (certificate, key) = (user.ca().join("ca.pem"), user.ca().join("ca.key"));
    let permit = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    let before = std::fs::read(&key).unwrap();

    permit(0o644);
    let says = ["has mode 0644", &format!("chmod 600 {}", key.display())];
    fails(user.run(None), 3, &says).await;
    permit(0o600);

    for (missing, other, part) in [(&key, &certificate, "its key"), (&certificate, &key, "its certificate")] {
        let aside = user.folder().join("aside");
        std::fs::rename(missing, &aside).unwrap();
        let says = [&format!("{} exists, but {part} {} is missing", other.display(), missing.display()), "put the "];
        fails(user.run(None), 3, &says).await;
        assert!(!missing.exists(), "nothing is made in its place");
        std::fs::rename(&aside, missing).unwrap();
    }

    std::fs::write(&certificate, "").unwrap();
    fails(user.run(None), 3, &[&certificate.display().to_string()]).await;
    assert_eq!(std::fs::read(&key).unwrap(), before);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made() {
    let user = User::new();
    let file = user.file("file", "");
    let folder = file.join("ca");
    let says = [&format!("the CA directory {} cannot be used: ", folder.display())[..]];
    fails(user.run(None).arg("--ca-dir").arg(&folder), 3, &says).await;
}

#[tokio::test]
async fn a_journal_that_is_not_there() {
    if Path::new(pinproxy::report::JOURNAL_SOCKET).exists() {
        return process::tell_skipped("there is a journal on this machine");
    }
    let user = User::new();
    let config = user.file("pinproxy.toml", "[log]\nformat = \"journald\"");
    let says =
        ["no journal at /run/systemd/journal/socket: No such file or directory", "write format = \"text\" or \"json\""];
    fails(user.run(Some(&config)), 3, &says).await;
    assert!(!user.folder().join("data").exists(), "nothing is made before there is a log");
}
