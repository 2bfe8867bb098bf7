//! `include`: several files that are one configuration.

use super::super::outside::PATTERN_OPTIONS;
use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;

/// A machine in memory.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(super) variables: BTreeMap<&'static str, OsString>,
    /// The files that were read, in order.
    pub(super) read: RefCell<Vec<PathBuf>>,
}

impl Memory {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect();
        Self { files, ..Self::default() }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.into());
        self
    }

    /// Loads `etc/main.toml`.
    pub(super) fn load(&self) -> Result<(Config, Vec<Diagnostic>), ConfigErrors> {
        Config::load_from(self, Path::new("etc/main.toml"), now())
    }

    fn refused(&self) -> ConfigErrors {
        self.load().err().unwrap_or_else(|| panic!("accepted"))
    }
}

impl Outside for Memory {
    fn read(&self, file: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.read.borrow_mut().push(file.to_owned());
        let octets = self.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        Ok(octets[..limit.min(octets.len())].to_vec())
    }

    fn look(&self, path: &Path) -> io::Result<Found> {
        let kind = if self.files.contains_key(path) {
            Kind::File
        } else if self.files.keys().any(|file| file.starts_with(path)) {
            Kind::Folder
        } else {
            return Err(io::ErrorKind::NotFound.into());
        };
        Ok(Found { canonical: path.to_owned(), kind })
    }

    fn matches(&self, pattern: &glob::Pattern, limit: usize) -> io::Result<Vec<PathBuf>> {
        // In the wrong order, for the order is not this function's to give.
        let files = self.files.keys().rev().filter(|file| pattern.matches_path_with(file, PATTERN_OPTIONS));
        Ok(files.take(limit).cloned().collect())
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.get(name).cloned()
    }
}

/// Code, file, line and column (none of a whole file), and a part of what is said.
type Told<'a> = (Code, &'a str, Option<(usize, usize)>, &'a str);

fn assert_told(errors: &ConfigErrors, expected: &[Told<'_>]) {
    let told: Vec<_> = errors.diagnostics().iter().filter(|d| d.severity() == Severity::Error).collect();
    assert_eq!(told.len(), expected.len(), "{errors}");
    for (told, (code, file, position, part)) in told.iter().zip(expected) {
        assert_eq!((told.code(), told.place().file, told.position()), (*code, file.into(), *position), "{errors}");
        let words = format!("{} / {}", told.message(), told.help());
        assert!(words.contains(part), "{words:?} lacks {part:?}");
        assert!(!told.help().is_empty() && told.to_string().contains(file), "{told}");
    }
}

const PINS: &str = "etc/pins.toml";

/// A main file that includes `etc/pins.toml`, which has this text.
fn including(text: &str) -> Memory {
    Memory::new(&[("etc/main.toml", "include = [\"pins.toml\"]"), (PINS, text)])
}

#[test]
fn files_are_one_configuration() {
    let x1 = format!("spki = \"{X1}\"");
    let memory = Memory::new(&[
        (
            "etc/main.toml",
            "schema = 1\ninclude = [\"b.toml\", \"d/*.toml\", \"d/z*.toml\", \"none/*.toml\", \"/abs/*\"]\n\
             [[pinset]]\nname = \"own\"\nhosts = [\"own.example\"]\npins = [\"root\", \"spare\"]\n",
        ),
        ("etc/b.toml", &format!("schema = 1\n[keys.root]\n{x1}\n[keys.spare]\nspki = \"{X2}\"")),
        ("etc/d/z.toml", "[[pinset]]\nname = \"z\"\nhosts = [\"z.example\"]\npins = [\"root\", \"spare\"]"),
        ("etc/d/a.toml", "[[pinset]]\nname = \"a\"\nhosts = [\"**.a.example\"]\npins = [\"root\", \"spare\"]"),
        ("etc/d/.hidden.toml", "nonsense"),
        ("etc/d/deep/c.toml", "nonsense"),
        (
            "/abs/x",
            &format!(
                "[[exempt]]\nhosts = [\"b.a.example\"]\nreason = \"r\"\nuntil = 2030-01-01\n\
                 [[blocklist]]\nname = \"l\"\nreason = \"r\"\nspki = [\"{R1}\"]"
            ),
        ),
    ]);
    let (config, warnings) = memory.load().unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<_> = config.rules.rules().iter().map(crate::policy::rules::Rule::label).collect();
    assert_eq!(names, ["own", "a", "z", "exempt"]);
    assert_eq!(config.rules.blocklist().len(), 1);
    let order: Vec<_> = memory.read.borrow().iter().map(|path| path.display().to_string()).collect();
    assert_eq!(order, ["etc/main.toml", "etc/b.toml", "etc/d/a.toml", "etc/d/z.toml", "/abs/x"]);
    let warnings: Vec<_> = warnings.iter().filter(|told| told.code() == Code::W19).collect();
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].code(), warnings[0].position()), (Code::W19, Some((2, 47))), "{}", warnings[0]);
    assert!(warnings[0].message().contains("none/*.toml"));
}

#[test]
fn nothing_is_included_by_an_empty_list() {
    for text in ["include = []", "include = [\"none.d/*.toml\"]"] {
        assert_eq!(Memory::new(&[("etc/main.toml", text)]).load().unwrap().0, Config::builtin());
    }
}

#[test]
fn refused_includes() {
    let table: &[(&str, &[Told<'_>])] = &[
        ("include = 1", &[(Code::E15, "", Some((1, 11)), "a list")]),
        ("include = \"a.toml\"", &[(Code::E15, "", Some((1, 11)), "a list")]),
        ("include = [1, \"\"]", &[(Code::E15, "", Some((1, 12)), "a text"), (Code::E16, "", Some((1, 15)), "empty")]),
        ("include = [\"none.toml\"]", &[(Code::E19, "", Some((1, 12)), "etc/none.toml")]),
        ("include = [\"d\"]", &[(Code::E19, "", Some((1, 12)), "etc/d: it is a folder")]),
        ("include = [\"main.toml\"]", &[(Code::E48, "", Some((1, 12)), "includes itself: etc/main.toml")]),
        ("include = [\"*.toml\"]", &[(Code::E48, "", Some((1, 12)), "includes itself: etc/main.toml")]),
        ("include = [\"**/*.toml\"]", &[(Code::E48, "", Some((1, 12)), "any depth")]),
        ("include = [\"d/[.toml\"]", &[(Code::E48, "", Some((1, 12)), "no pattern")]),
        // The exemption may be from a pinset in the missing file.
        ("include = [\"none.toml\"]\n[[exempt]]", &[(Code::E19, "", Some((1, 12)), "")]),
        ("include = [\"none.toml\"]\n[logs]", &[(Code::E19, "", Some((1, 12)), ""), (Code::E01, "", Some((2, 2)), "")]),
    ];
    for (text, expected) in table {
        let memory = Memory::new(&[("etc/main.toml", text), ("etc/d/x.toml", "")]);
        let errors = memory.refused();
        let expected: Vec<_> = expected.iter().map(|told| (told.0, "etc/main.toml", told.2, told.3)).collect();
        assert_told(&errors, &expected);
        assert_eq!(errors.is_unreadable(), expected[0].0 == Code::E19, "{errors}");
    }
    let errors = Config::parse("include = [\"a.toml\"]", Path::new("etc/main.toml"), now()).unwrap_err();
    assert_told(&errors, &[(Code::E19, "etc/main.toml", Some((1, 12)), "read by itself")]);
}

/// What is wrong in sound files is told beside a file that is missing, unless it may be for want of that file.
#[test]
fn errors_beside_a_missing_file() {
    let sound = format!("pins = [\"{X1}\", \"{X2}\"]");
    let of = |host: &str, lines: &str| {
        format!("[[pinset]]\nname = \"{}\"\nhosts = [\"{host}\"]\n{lines}\n", host.trim_matches(['*', '.']))
    };
    // What it inherits may be that of a pinset between the two.
    let around = of("**.b.example", &format!("pins = [\"{X1}\"]\nmode = \"report-only\""));
    let hole = "hosts = [\"b.example\"]\nreason = \"r\"\nuntil = 2030-01-01\n";
    let table: &[(String, &[Told<'_>])] = &[
        (of("a.example", "pins = [\"sha256/x\"]"), &[(Code::E05, PINS, Some((4, 9)), "")]),
        (of("**.com", &sound), &[(Code::E22, PINS, Some((3, 10)), "")]),
        (of("a.example", &format!("{sound}\nmode = \"on\"")), &[(Code::E01, PINS, Some((5, 8)), "")]),
        (
            of("a.example", &sound) + &of("a.example", &sound),
            &[(Code::E46, PINS, Some((6, 8)), "twice"), (Code::E21, PINS, Some((7, 10)), "")],
        ),
        (of("a.example", &format!("pins = [\"{X1}\"]")), &[(Code::E30, PINS, Some((4, 8)), "one pin alone")]),
        ("[keys.k]\n".to_owned(), &[(Code::E14, PINS, Some((1, 1)), "keys.k.spki is missing")]),
        // For want of a key, of a wider pinset, of pins; or advice.
        (of("a.example", "pins = [\"elsewhere\"]"), &[]),
        (of("a.example", &format!("{sound}\ninherit = true")), &[]),
        (of("a.example", &format!("pins = [\"{X1}\"]\ninherit = true")), &[]),
        (around + &of("a.b.example", &format!("pins = [\"{X1}\"]\ninherit = true")), &[]),
        (format!("[[exempt]]\n{hole}"), &[]),
        (of("**.internal", &sound) + &format!("[keys.unused]\nspki = \"{R1}\"\n"), &[]),
    ];
    let main = "include = [\"none.toml\", \"pins.toml\", \"broken.toml\"]";
    let broken = "[[pinset]]\nname = \"a.example\"\nhosts = [1]\n[[pinset]";
    for (text, expected) in table {
        let memory = Memory::new(&[("etc/main.toml", main), (PINS, text), ("etc/broken.toml", broken)]);
        let errors = memory.refused();
        let missing = [(Code::E19, "etc/main.toml", Some((1, 12)), "etc/none.toml")];
        let cut = [(Code::E17, "etc/broken.toml", Some((4, 10)), "")];
        assert_told(&errors, &[&missing[..], expected, &cut].concat());
        assert_eq!(errors.diagnostics().len(), expected.len() + 2, "{errors}");
    }
    // Without the gap the same texts say what they lack.
    let complete = |text: &str| {
        let errors = including(text).refused();
        errors.diagnostics().iter().find(|told| told.severity() == Severity::Error).map(Diagnostic::code)
    };
    let lacking: Vec<_> = table[6..11].iter().map(|(text, _)| complete(text)).collect();
    assert_eq!(lacking, [Code::E10, Code::E47, Code::E47, Code::E30, Code::E26].map(Some));
}

#[test]
fn refused_included_files() {
    let main = |key: &str| format!("{key} belongs into the main file");
    let table: &[(&str, &[Told<'_>])] = &[
        ("include = [\"main.toml\"]", &[(Code::E48, PINS, Some((1, 1)), "cannot include others")]),
        ("[log]\nlevel = \"loud\"", &[(Code::E48, PINS, Some((1, 2)), &main("log"))]),
        (
            "[[tunnel]]\n[defaults]",
            &[(Code::E48, PINS, Some((1, 3)), &main("tunnel")), (Code::E48, PINS, Some((2, 2)), &main("defaults"))],
        ),
        ("[admin]", &[(Code::E48, PINS, Some((1, 2)), &main("admin"))]),
        ("[[pinsets]]", &[(Code::E01, PINS, Some((1, 3)), "did you mean `pinset`?")]),
        ("schema = 2", &[(Code::E02, PINS, Some((1, 10)), "schema = 1")]),
        ("\n[keys.a]", &[(Code::E14, PINS, Some((2, 1)), "keys.a.spki is missing")]),
        ("[[pinset]", &[(Code::E17, PINS, Some((1, 10)), "")]),
        ("a = \"\0\"", &[(Code::E17, PINS, Some((1, 6)), "NUL")]),
        ("[keys]\nk = 1\nk = 2", &[(Code::E15, PINS, Some((2, 5)), ""), (Code::E17, PINS, Some((3, 1)), "twice")]),
    ];
    for (text, expected) in table {
        let errors = including(text).refused();
        assert_told(&errors, expected);
        assert!(!errors.is_unreadable());
    }
    let mut memory = including("");
    memory.files.insert(PINS.into(), b"# \n# \xff".to_vec());
    let errors = memory.refused();
    assert_told(&errors, &[(Code::E17, PINS, None, "line 2")]);
    assert!(errors.to_string().contains("etc/main.toml:1:12"), "{errors}");
    assert!(errors.to_string().contains("included here"), "{errors}");
}

#[test]
fn contradictions_between_files() {
    let pinset = |name: &str, host: &str| {
        format!("[[pinset]]\nname = \"{name}\"\nhosts = [\"{host}\"]\npins = [\"{X1}\", \"{X2}\"]\n")
    };
    let key = |name: &str, pin: &str| format!("[keys.{name}]\nspki = \"{pin}\"\n");
    let block =
        |name: &str, pin: &str| format!("[[blocklist]]\nname = \"{name}\"\nreason = \"r\"\nspki = [\"{pin}\"]\n");
    // In a.toml, in b.toml, the code, where it is in b.toml, where the other place is in a.toml.
    let table = [
        (pinset("p", "a.example"), pinset("p", "b.example"), Code::E46, (2, 8), (2, 8)),
        (pinset("p", "a.example"), pinset("q", "A.example"), Code::E21, (3, 10), (3, 10)),
        (key("a", X1), key("a", X2), Code::E46, (1, 7), (1, 7)),
        (key("a", X1), key("b", X1), Code::E09, (1, 7), (1, 7)),
        (block("a", R1), block("a", X1), Code::E46, (2, 8), (2, 8)),
        (block("a", R1), block("b", R1), Code::E09, (4, 9), (4, 9)),
        (block("a", X2), pinset("p", "a.example"), Code::E38, (4, 64), (4, 9)),
    ];
    for (a, b, code, place, other) in table {
        let memory =
            Memory::new(&[("etc/main.toml", "include = [\"[ab].toml\"]"), ("etc/a.toml", &a), ("etc/b.toml", &b)]);
        let errors = memory.refused();
        assert_told(&errors, &[(code, "etc/b.toml", Some(place), "")]);
        let (told, label) = errors.diagnostics().iter().find_map(|told| told.related().next()).unwrap();
        let position = told.region.map(|region| (region.line, region.column));
        assert_eq!((told.file, position), ("etc/a.toml".into(), Some(other)), "{errors}");
        let rendered = errors.to_string();
        let [place, other] =
            [("b", place), ("a", other)].map(|(f, (line, column))| format!("etc/{f}.toml:{line}:{column}"));
        assert!(rendered.contains(&place) && rendered.contains(&other) && rendered.contains(label), "{rendered}");
    }
}

#[test]
fn how_two_files_look() {
    let memory = Memory::new(&[
        ("etc/main.toml", "include = [\"b.toml\"]\n[keys.a]\nspki = \"X2\""),
        ("etc/b.toml", &format!("\n[keys.a]\nspki = \"{X1}\"")),
    ]);
    let expected = "\
error[E46]: the name \"a\" is given twice under [keys]
 --> etc/b.toml:2:7
  |
2 | [keys.a]
  |       ^
  |
 ::: etc/main.toml:2:7
  |
2 | [keys.a]
  |       - first given here
  |
  = help: choose another name";
    let errors = memory.refused();
    let told = errors.diagnostics().iter().find(|told| told.code() == Code::E46).unwrap();
    assert_eq!(told.render_as(Severity::Error, false, false), expected);
}

#[test]
fn too_many_files() {
    let mut memory = Memory::new(&[("etc/main.toml", "include = [\"d/*.toml\"]")]);
    for n in 0..INCLUDED_FILES_MAX {
        memory.files.insert(format!("etc/d/{n}.toml").into(), Vec::new());
    }
    memory.load().unwrap_or_else(|errors| panic!("{errors}"));
    memory.files.insert("etc/d/more.toml".into(), Vec::new());
    let errors = memory.refused();
    assert_told(&errors, &[(Code::E48, "etc/main.toml", Some((1, 12)), "more than 1000 files")]);
}

#[test]
fn too_many_octets() {
    let mut memory = Memory::new(&[("etc/main.toml", "include = [\"d/*.toml\"]")]);
    memory.files.insert("etc/d/0.toml".into(), vec![b'#'; FILE_OCTETS_MAX + 1]);
    assert_told(
        &memory.refused(),
        &[(Code::E19, "etc/main.toml", Some((1, 12)), "etc/d/0.toml is larger than 16 MiB")],
    );
    memory.files.insert("etc/d/0.toml".into(), vec![b'#'; FILE_OCTETS_MAX]);
    for n in 1..FILES_OCTETS_MAX / FILE_OCTETS_MAX {
        memory.files.insert(format!("etc/d/{n}.toml").into(), vec![b'#'; FILE_OCTETS_MAX - 100]);
    }
    memory.load().unwrap_or_else(|errors| panic!("{errors}"));
    memory.files.insert("etc/d/9.toml".into(), vec![b'#'; 300]);
    assert_told(&memory.refused(), &[(Code::E19, "etc/main.toml", Some((1, 12)), "larger than 64 MiB")]);
}

/// On the real file system.
mod real {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn load(folder: &tempfile::TempDir, main: &str) -> Result<(Config, Vec<Diagnostic>), ConfigErrors> {
        Config::load(&folder.path().join(main), now())
    }

    fn key(name: &str, pin: &str) -> String {
        format!("[keys.{name}]\nspki = \"{pin}\"\n")
    }

    #[test]
    fn patterns_and_links() {
        let folder = folder(&[
            ("conf [1]/main.toml", "include = [\"d/*.toml\", \"../other/a.toml\", \"d/?.toml\"]"),
            ("conf [1]/d/b.toml", &key("b", X1)),
            ("conf [1]/d/.#b.toml", "nonsense"),
            ("conf [1]/d/c.toml~", "nonsense"),
            ("other/a.toml", &key("a", X2)),
        ]);
        symlink("b.toml", folder.path().join("conf [1]/d/link.toml")).unwrap();
        let (_, warnings) = load(&folder, "conf [1]/main.toml").unwrap_or_else(|errors| panic!("{errors}"));
        let told: Vec<_> =
            warnings.iter().map(|w| (w.code(), w.place().file.file_name().unwrap().to_owned())).collect();
        assert_eq!(told, [(Code::W20, "main.toml".into()), (Code::W11, "b.toml".into()), (Code::W11, "a.toml".into())]);
    }

    #[test]
    fn circles() {
        let folder = folder(&[("main.toml", "include = [\"d/*.toml\"]"), ("d/a.toml", ""), ("other.toml", "")]);
        symlink("../main.toml", folder.path().join("d/b.toml")).unwrap();
        let errors = load(&folder, "main.toml").unwrap_err();
        assert_eq!(errors.diagnostics()[0].code(), Code::E48, "{errors}");
        assert!(errors.to_string().contains("includes itself") && errors.to_string().contains("d/b.toml"), "{errors}");
        fs::remove_file(folder.path().join("d/b.toml")).unwrap();
        // The same file by another name: through a link that is the main file.
        symlink("d/a.toml", folder.path().join("link.toml")).unwrap();
        fs::write(folder.path().join("d/a.toml"), "include = [\"d/*.toml\"]").unwrap();
        let errors = load(&folder, "link.toml").unwrap_err();
        assert!(errors.to_string().contains("includes itself"), "{errors}");
        // A link that leads to itself is not to be read at all.
        fs::write(folder.path().join("d/a.toml"), "").unwrap();
        symlink("loop.toml", folder.path().join("d/loop.toml")).unwrap();
        assert!(load(&folder, "main.toml").unwrap_err().is_unreadable());
    }

    #[test]
    fn what_cannot_be_read() {
        let folder = folder(&[("main.toml", "include = [\"d/*\"]"), ("d/a.toml/x", "")]);
        let errors = load(&folder, "main.toml").unwrap_err();
        assert!(errors.is_unreadable() && errors.to_string().contains("a.toml: it is a folder"), "{errors}");
        fs::remove_dir_all(folder.path().join("d/a.toml")).unwrap();
        symlink("/dev/zero", folder.path().join("d/zero.toml")).unwrap();
        let errors = load(&folder, "main.toml").unwrap_err();
        assert!(errors.to_string().contains("zero.toml: it is no regular file"), "{errors}");
        fs::remove_file(folder.path().join("d/zero.toml")).unwrap();
        symlink("nowhere", folder.path().join("d/broken.toml")).unwrap();
        assert!(load(&folder, "main.toml").unwrap_err().to_string().contains("broken.toml"));
    }

    /// Where permissions bind the user of the tests, which those of root do not.
    #[test]
    fn permissions() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = folder(&[("main.toml", "include = [\"d/*.toml\"]"), ("d/a.toml", "")]);
        for path in ["d/a.toml", "d"] {
            let path = folder.path().join(path);
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
            let closed = fs::File::open(&path).is_err();
            let result = load(&folder, "main.toml");
            fs::set_permissions(&path, before).unwrap();
            match result {
                Ok(_) => assert!(!closed, "{}", path.display()),
                Err(errors) => assert!(closed && errors.is_unreadable(), "{errors}"),
            }
        }
    }
}
