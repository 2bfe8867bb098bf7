//! Files that change are read again, when the configuration says so.

use super::reload::reply;
use super::*;

use std::os::unix::fs::symlink;

fn refused() -> (u16, String) {
    (502, format!("Certificate pin mismatch for {HOST} (pinset site)"))
}

fn established() -> (u16, String) {
    (200, "Connection established".to_owned())
}

/// How editors and configuration management write files: in place, and by a new one that takes the old one's name.
#[tokio::test]
async fn files_that_are_written_and_files_that_are_replaced() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let (right, wrong) = (pinset(&site.chain.pin()), pinset(&Key::p256().pin()));
    user.file("pins/site.toml", &right);
    let main = site.trusted_by(&user, "");
    let main_text = format!("watch = true\ninclude = [\"pins/*.toml\"]\n{}", std::fs::read_to_string(&main).unwrap());
    std::fs::write(&main, main_text).unwrap();
    let mut program = Program::start(user.run(Some(&main))).await;
    assert_eq!(reply(&program, &site).await, established());

    user.file("pins/site.toml", &wrong);
    program.running.err.until("the files of the configuration have changed").await;
    program.running.err.until("generation 2 with 1 rules is in force").await;
    assert_eq!(reply(&program, &site).await, refused());

    let beside = user.file("new", &right);
    std::fs::rename(beside, user.folder().join("pins/site.toml")).unwrap();
    program.running.err.until("generation 3 with 1 rules is in force").await;
    assert_eq!(reply(&program, &site).await, established());

    // A file more among the included ones, with a mistake; nothing but the mistake is told until it is mended.
    let more = user.file("pins/more.toml", "[[pinset]]\nname = \"more\"\n");
    program.running.err.until("reload refused, generation 3 stays in force").await;
    std::fs::write(&more, wrong.replace("\"site\"", "\"more\"").replace(HOST, "more.example")).unwrap();
    program.running.err.until("generation 4 with 2 rules is in force").await;

    // A file that was named and is another one now.
    std::fs::write(user.folder().join("private ca.pem"), Ca::root("Another CA").pem()).unwrap();
    program.running.err.until("generation 5 with 2 rules is in force").await;
    let (status, reason) = reply(&program, &site).await;
    assert_eq!(status, 502, "{reason}");
    program.stop().await;
}

/// Kubernetes leads a link to another folder, and nothing else changes.
#[tokio::test]
async fn a_folder_behind_a_link_that_is_led_elsewhere() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let text = |pins: &str| {
        format!("watch = true\n[upstream]\nextra_roots = [\"{}\"]\n{pins}", user.folder().join("ca.pem").display())
    };
    user.file("ca.pem", &site.root.pem());
    user.file("..v1/pinproxy.toml", &text(&pinset(&site.chain.pin())));
    user.file("..v2/pinproxy.toml", &text(&pinset(&Key::p256().pin())));
    symlink("..v1", user.folder().join("..data")).unwrap();
    let path = user.folder().join("pinproxy.toml");
    symlink("..data/pinproxy.toml", &path).unwrap();
    let mut program = Program::start(user.run(Some(&path))).await;
    assert_eq!(reply(&program, &site).await, established());
    for (generation, version, expected) in [(2, "..v2", refused()), (3, "..v1", established())] {
        symlink(version, user.folder().join("..data_tmp")).unwrap();
        std::fs::rename(user.folder().join("..data_tmp"), user.folder().join("..data")).unwrap();
        program.running.err.until(&format!("generation {generation} with 1 rules is in force")).await;
        assert_eq!(reply(&program, &site).await, expected);
    }
    program.stop().await;
}

/// A second program that does follow the same files tells how long is long enough.
#[tokio::test]
async fn without_the_setting_nothing_is_read_again() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let good = pinset(&site.chain.pin());
    let pins = user.file("pins/site.toml", &good);
    let including = "include = [\"pins/*.toml\"]\n".to_owned();
    let still = site.trusted_by(&user, "");
    let text = including + &std::fs::read_to_string(&still).unwrap();
    std::fs::write(&still, &text).unwrap();
    let following = user.file("following.toml", &format!("watch = true\n{text}"));
    let mut still = Program::start(user.run(Some(&still))).await;
    let mut following = Program::start(user.run(Some(&following))).await;
    for (number, mistake) in ["[[", "[[pinset]]\nname = \"site\"\n", "pins ="].into_iter().enumerate() {
        std::fs::write(&pins, mistake).unwrap();
        following.running.err.until_times("reload refused, generation 1 stays in force", number + 1).await;
    }
    std::fs::write(&pins, good).unwrap();
    following.running.err.until("generation 2 with 1 rules is in force").await;
    still.running.signal("HUP").await;
    let told = still.running.err.until("generation 2 with 1 rules is in force").await;
    assert!(!told.contains("refused") && !told.contains("have changed"), "{told}");
    following.stop().await;
    still.stop().await;
}
