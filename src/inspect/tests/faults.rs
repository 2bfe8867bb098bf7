//! What a start puts up with, and what a reload does about it: by whether what is in force has the same fault.

use super::*;
use crate::materials::Materials;
use crate::policy::rules::Policy;

/// 2028-01-01T00:00:00Z, when some of the anchors have ended that were read in 2026.
fn later() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_830_297_600)
}

/// What was read, as it is in force.
struct Read {
    policy: Policy,
    materials: Materials,
    faults: Vec<Fault>,
}

impl Folder {
    fn checked(&self, text: &str, now: SystemTime) -> Checked {
        self.file("pinproxy.toml", text);
        let world = World { now, ..world() };
        check(&self.0.path().join("pinproxy.toml"), &world).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The configuration as the first one of a proxy; a start takes every one of them.
    fn started(&self, text: &str) -> Read {
        let checked = self.checked(text, now());
        assert_eq!(checked.admission(Occasion::Start, now()), Admission::Taken, "{text}");
        let Checked { config, materials, faults, .. } = checked;
        Read { policy: config.policy(1), materials: materials.unwrap(), faults }
    }

    fn becomes(&self, table: Vec<Row>) {
        for (what, old, new, then, later_on) in table {
            let read = self.started(&old);
            let in_force = InForce { policy: &read.policy, materials: &read.materials, faults: &read.faults };
            for (now, expected) in [(now(), then), (later(), later_on)] {
                let checked = self.checked(&new, now);
                assert_eq!(
                    checked.admission(Occasion::Reload(in_force), now),
                    expected,
                    "{what}: {:?}",
                    checked.faults
                );
                let start = if expected == Admission::Unusable { Admission::Unusable } else { Admission::Taken };
                assert_eq!(checked.admission(Occasion::Start, now), start, "{what}");
            }
        }
    }
}

/// The case, what is in force since 2026, what is to come in its place, and what becomes of that in 2026 and in 2028.
type Row = (&'static str, String, String, Admission, Admission);

/// `[upstream] roots` of this file, and pinsets, each with its name, its own roots if any, and further lines.
fn text(roots: &str, block: &[&Made], pinsets: &[(&str, &str, &str)]) -> String {
    let keys: Vec<_> = block.iter().map(|made| made.pin.as_str()).collect();
    let block = match keys.as_slice() {
        [] => String::new(),
        keys => format!("[[blocklist]]\nname = \"b\"\nreason = \"lost\"\nspki = {keys:?}\n"),
    };
    let pinset = |(name, own, more): &(&str, &str, &str)| {
        let own = if own.is_empty() { String::new() } else { format!("roots = \"{own}\"\n") };
        format!("[[pinset]]\nname = \"{name}\"\nhosts = [\"{name}.example\"]\nmode = \"report-only\"\n{own}{more}\n")
    };
    format!("[upstream]\nroots = \"{roots}\"\n{block}{}", pinsets.iter().map(pinset).collect::<String>())
}

#[test]
fn a_reload_is_kept_out_by_new_faults_alone() {
    use Admission::{Taken, Unusable, Worse};
    let folder = Folder::new();
    let (root, old) = (made("Root", true, 2040, None), made("Old", true, 2026, None));
    let (until_2027, other) = (made("Until 2027", true, 2027, None), made("Other", true, 2040, None));
    folder.file("root.pem", &root.pem);
    folder.file("old.pem", &old.pem);
    folder.file("older.pem", made("Older", true, 2025, None).pem);
    folder.file("2027.pem", &until_2027.pem);
    folder.file("from 2027.pem", made_for("From 2027", true, 2027..=2040, None).pem);
    folder.file("other.pem", &other.pem);
    folder.file("both.pem", root.pem.clone() + &other.pem);
    let pins = format!("pins = [\"{NOBODYS}\"]");
    let denied = format!("{pins}\ndeny = [\"{}\"]", root.pin);
    let leaf = |made: &Made| format!("leaf_pins = [\"{}\"]", made.pin);
    let p = |own: &'static str| [("p", own, pins.as_str())];
    let common = |file: &str| text(file, &[], &p(""));
    let own = |file: &'static str| text("./root.pem", &[], &p(file));
    let blocked = |file: &str, block: &[&Made]| text(file, block, &p(""));
    let pinned = |made: &Made| text("./both.pem", &[], &[("p", "", &leaf(made))]);
    let two = |own: &'static str| text("./root.pem", &[], &[("p", "./old.pem", &pins), ("q", own, &pins)]);
    let blocked_late = text("./old.pem", &[&old], &[("p", "", &pins), ("q", "", &pins)]);
    let two_common = text("./old.pem", &[], &[("p", "", &pins), ("q", "", &pins)]);
    let sound = common("./root.pem");
    let none = text("./none.pem", &[], &[]);
    folder.becomes(vec![
        ("a file that cannot be used", sound.clone(), none.clone(), Unusable, Unusable),
        ("the same beside an old fault", common("./old.pem"), none, Unusable, Unusable),
        ("anchors that have ended", sound.clone(), common("./old.pem"), Worse, Worse),
        ("they end while it runs", common("./2027.pem"), common("./2027.pem"), Taken, Taken),
        ("others that have ended, then", common("./2027.pem"), common("./old.pem"), Worse, Taken),
        ("they begin while it runs", common("./from 2027.pem"), common("./old.pem"), Taken, Worse),
        ("an old fault", common("./old.pem"), common("./old.pem"), Taken, Taken),
        ("an old fault, and a key is blocked", common("./old.pem"), blocked("./old.pem", &[&root]), Taken, Taken),
        ("an ended anchor is blocked, a pinset added", common("./old.pem"), blocked_late, Taken, Taken),
        ("an old fault is put right", common("./old.pem"), sound.clone(), Taken, Taken),
        ("a pinset's own anchors", own("./root.pem"), own("./old.pem"), Worse, Worse),
        ("an old fault of its own anchors", own("./old.pem"), own("./old.pem"), Taken, Taken),
        ("those of all and not those of one", common("./old.pem"), own("./old.pem"), Worse, Worse),
        ("those of one and not those of all", own("./old.pem"), common("./old.pem"), Worse, Worse),
        ("another set beside it", own("./old.pem"), two("./older.pem"), Worse, Worse),
        ("the same set for another pinset", own("./old.pem"), two("./old.pem"), Taken, Taken),
        (
            "a pinset moves to anchors that have ended",
            text("./old.pem", &[], &p("./root.pem")),
            common("./old.pem"),
            Worse,
            Worse,
        ),
        ("a pinset is added under them", common("./old.pem"), two_common, Taken, Taken),
        ("all anchors are blocked", sound.clone(), blocked("./root.pem", &[&root]), Taken, Taken),
        ("others, which are blocked", sound.clone(), blocked("./other.pem", &[&other]), Worse, Worse),
        ("by the pinset itself", sound.clone(), text("./root.pem", &[], &[("p", "", &denied)]), Taken, Taken),
        ("some are", common("./both.pem"), blocked("./both.pem", &[&root]), Taken, Taken),
        ("the rest is", blocked("./both.pem", &[&root]), blocked("./both.pem", &[&root, &other]), Taken, Taken),
        (
            "the others were, and not these",
            blocked("./both.pem", &[&root]),
            blocked("./root.pem", &[&root]),
            Worse,
            Worse,
        ),
        ("all were", blocked("./root.pem", &[&root]), blocked("./both.pem", &[&root, &other]), Taken, Taken),
        ("a pin that matches nothing", common("./both.pem"), pinned(&root), Worse, Worse),
        ("an old one", pinned(&root), pinned(&root), Taken, Taken),
        ("another one", pinned(&root), pinned(&other), Worse, Worse),
        ("nothing", sound.clone(), sound, Taken, Taken),
    ]);
}

/// A pinset is told from others by its name.
#[test]
fn a_pinset_of_another_name_or_basis() {
    use Admission::{Taken, Worse};
    let folder = Folder::new();
    let (root, other) = (made("Root", true, 2040, None), made("Other", true, 2040, None));
    folder.file("root.pem", &root.pem);
    folder.file("old.pem", made("Old", true, 2026, None).pem);
    folder.file("other.pem", &other.pem);
    let pins = format!("pins = [\"{NOBODYS}\"]");
    let denied = format!("{pins}\ndeny = [\"{}\"]", root.pin);
    let blocked = |file: &str, block: &[&Made]| text(file, block, &[("p", "", &pins)]);
    let two_blocked = text("./root.pem", &[&root], &[("p", "", &pins), ("q", "", &pins)]);
    let renamed = |file: &str, block: &[&Made], more: &str| text(file, block, &[("q", "", more)]);
    let pin_only = |file: &str| {
        let keys = format!("leaf_pins = [\"{NOBODYS}\"]\nbackup = [\"{}\"]", other.pin);
        text(file, &[], &[("p", "", &keys)]).replace("mode = \"report-only\"", "trust = \"pin-only\"")
    };
    let sound = blocked("./root.pem", &[]);
    folder.becomes(vec![
        ("the root is blocked, and a pinset added", sound.clone(), two_blocked, Taken, Taken),
        ("... and it is renamed", sound.clone(), renamed("./root.pem", &[&root], &pins), Taken, Taken),
        ("a pinset is renamed, and denies the root", sound.clone(), renamed("./root.pem", &[], &denied), Taken, Taken),
        (
            "it is renamed, under others, which are blocked",
            sound.clone(),
            renamed("./other.pem", &[&other], &pins),
            Worse,
            Worse,
        ),
        (
            "it was blocked before, and others are by now",
            blocked("./root.pem", &[&root]),
            renamed("./other.pem", &[&other], &pins),
            Taken,
            Taken,
        ),
        ("from pin-only to chains, sound", pin_only("./root.pem"), sound.clone(), Taken, Taken),
        ("... under anchors that have ended", pin_only("./old.pem"), blocked("./old.pem", &[]), Worse, Worse),
        ("... under anchors that are blocked", pin_only("./root.pem"), blocked("./root.pem", &[&root]), Worse, Worse),
    ]);
}

/// A pin that matches nothing may turn everybody away.
#[test]
fn a_pinset_that_comes_to_refuse_for_an_old_fault() {
    use Admission::{Taken, Worse};
    let folder = Folder::new();
    let root = made("Root", true, 2040, None);
    folder.file("root.pem", &root.pem);
    let leaf = format!("leaf_pins = [\"{}\"]", root.pin);
    let reported = text("./root.pem", &[], &[("p", "", &leaf)]);
    let end_2027 = "expiry = { at = 2027-06-01T00:00:00Z, then = \"unpinned\" }";
    let enforced = |more: &str| {
        let keys = format!("{leaf}\nbackup = [\"{NOBODYS}\"]\n{more}");
        text("./root.pem", &[], &[("p", "", &keys)]).replace("report-only", "enforce")
    };
    folder.becomes(vec![
        ("an old one, which is enforced from now on", reported.clone(), enforced(""), Worse, Worse),
        ("it was enforced before", enforced(""), enforced(""), Taken, Taken),
        ("... and is no longer", enforced(""), reported.clone(), Taken, Taken),
        ("... until its end, which is put off", enforced(end_2027), enforced(""), Taken, Worse),
        ("... until its end, which stays", enforced(end_2027), enforced(end_2027), Taken, Taken),
    ]);
}

/// An error that nobody has thought of is in force nowhere.
#[test]
fn an_error_of_no_known_kind_keeps_a_reload_out() {
    let folder = Folder::new();
    folder.file("root.pem", &made("Root", true, 2040, None).pem);
    let text = text("./root.pem", &[], &[]);
    let read = folder.started(&text);
    let mut checked = folder.checked(&text, now());
    checked.faults.push(Fault::Other);
    let in_force = InForce { policy: &read.policy, materials: &read.materials, faults: &[Fault::Other] };
    assert_eq!(checked.admission(Occasion::Reload(in_force), now()), Admission::Worse);
}

/// Each error has its fault, or it would be taken for none.
#[test]
fn every_error_is_a_fault() {
    let folder = Folder::new();
    let (root, old) = (made("Root", true, 2040, None), made("Old", true, 2026, None));
    folder.file("root.pem", &root.pem);
    folder.file("old.pem", &old.pem);
    let pins = format!("pins = [\"{NOBODYS}\"]");
    let more = format!("leaf_pins = [\"{}\"]", root.pin);
    let checked = folder.checked(&text("./old.pem", &[&root], &[("p", "./root.pem", &pins)]), now());
    let errors =
        |checked: &Checked| checked.diagnostics.iter().filter(|told| told.severity() == Severity::Error).count();
    assert!(errors(&checked) > 0 && errors(&checked) == checked.faults.len(), "{:?}", checked.faults);
    let checked = folder.checked(&text("./old.pem", &[], &[("p", "./root.pem", &more)]), now());
    assert_eq!((errors(&checked), checked.faults.len()), (2, 2), "{:?}", checked.faults);
}
