//! Signals: to the command, once; and nothing is left behind.

use super::*;
use crate::foreign::python;

/// Tells of each signal, and goes on until it is killed by one that it leaves alone.
const TELLING: &str = "trap 'echo INT' INT; trap 'echo HUP' HUP; trap 'echo USR1' USR1; trap 'echo TERM; exit 7' TERM; \
                       echo ready; while :; do sleep 0.05; done";

#[tokio::test]
async fn they_reach_the_command_and_its_code_comes_back() {
    let user = User::new();
    let mut running = exec(&user, &["--", "sh", "-c", TELLING]).start();
    running.out.until("ready\n").await;
    for signal in ["INT", "HUP", "USR1"] {
        running.signal(signal).await;
        running.out.until(&format!("{signal}\n")).await;
    }
    running.signal("TERM").await;
    let done = running.ended().await.with_code(7);
    assert_eq!(done.out, "ready\nINT\nHUP\nUSR1\nTERM\n");
    done.says(&["pinproxy: 0 hosts"]);
    assert!(nothing_left(&user));
}

#[tokio::test]
async fn a_command_that_a_signal_ends() {
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let user = User::new();
        let mut running = exec(&user, &["--", "sh", "-c", "ulimit -c 0; echo ready; exec sleep 60"]).start();
        running.out.until("ready\n").await;
        running.signal(signal).await;
        running.ended().await.with_code(code);
        assert!(nothing_left(&user), "{signal}");
    }
}

/// What is on the disk while it runs is nobody else's, and the key of the CA is not there at all.
#[tokio::test]
async fn no_key_is_on_the_disk() {
    let user = User::new();
    let mut running = exec(&user, &["--", "sh", "-c", "echo \"$SSL_CERT_FILE\"; exec sleep 60"]).start();
    let printed = running.out.until("\n").await;
    let folder = std::fs::read_dir(temporary(&user)).unwrap().next().expect("a folder").unwrap().path();
    assert!(Path::new(printed.trim_end()).starts_with(&folder), "{printed}");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700);
    let mut folders = vec![user.folder().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files += 1;
                let octets = std::fs::read(&path).unwrap();
                assert!(!String::from_utf8_lossy(&octets).contains("PRIVATE KEY"), "{}", path.display());
            }
        }
    }
    assert_eq!(files, 3, "bundle, CA and trust store");
    running.signal("TERM").await;
    running.ended().await.with_code(143);
    assert!(nothing_left(&user));
}

/// nohup(1) and shells without job control start commands with signals ignored; the command has to find them so.
#[tokio::test]
async fn what_was_ignored_stays_ignored() {
    let user = User::new();
    std::fs::create_dir_all(temporary(&user)).unwrap();
    let script = "trap '' HUP; exec \"$0\" exec -- sh -c 'echo ready; exec sleep 60'";
    let start = process::command(Path::new("/bin/sh"), user.folder()).env("TMPDIR", temporary(&user));
    let mut running = start.args(["-c", script, env!("CARGO_BIN_EXE_pinproxy")]).start();
    running.out.until("ready\n").await;
    running.signal("HUP").await;
    running.signal("TERM").await;
    // 129 where the first one came through.
    running.ended().await.with_code(143);
}

/// The terminal sends to the whole process group: the command has got it already when it comes to us.
#[tokio::test]
async fn what_the_terminal_sends_comes_once() {
    let Some(python) = python::python() else { return };
    let user = User::new();
    std::fs::create_dir_all(temporary(&user)).unwrap();
    let script = "import os, pty, signal, sys\n\
        pid, terminal = pty.fork()\n\
        if pid == 0: os.execv(sys.argv[1], sys.argv[1:])\n\
        seen = b''\n\
        def until(part):\n    \
            global seen\n    \
            while part not in seen: seen += os.read(terminal, 4096)\n\
        until(b'ready')\n\
        os.write(terminal, b'\\x03')\n\
        until(b'INT\\r')\n\
        os.kill(pid, signal.SIGTERM)\n\
        until(b'TERM\\r')\n\
        while True:\n    \
            try: octets = os.read(terminal, 4096)\n    \
            except OSError: break\n    \
            if not octets: break\n    \
            seen += octets\n\
        print(seen.count(b'INT\\r'), seen.count(b'TERM\\r'), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n";
    let start = process::command(&python, user.folder()).env("TMPDIR", temporary(&user)).args(["-c", script]);
    let done = start.args([env!("CARGO_BIN_EXE_pinproxy"), "exec", "--", "sh", "-c", TELLING]).run().await.with_code(0);
    assert_eq!(done.out, "1 1 7\n", "{done}");
}
