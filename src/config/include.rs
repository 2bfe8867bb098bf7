//! `include`: which files belong to a configuration, and what they may hold.

use super::code::Code;
use super::document::FILE_OCTETS_MAX;
use super::findings::Findings;
use super::item::Item;
use super::outside::{Found, Kind, Outside};
use super::span::{FileId, Source, Span};
use super::table::Table;
use glob::Pattern;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most files that a configuration includes.
pub const INCLUDED_FILES_MAX: usize = 1000;

/// Most octets of all files of a configuration together.
pub const FILES_OCTETS_MAX: usize = 64 << 20;

/// What included files may hold.
const INCLUDED: [&str; 5] = ["schema", "keys", "pinset", "exempt", "blocklist"];

/// The files that a configuration includes.
pub(super) struct Included {
    /// Each of them once, in the order of the patterns, and by path where one pattern matches several.
    pub(super) files: Vec<(FileId, Arc<Source>)>,
    /// Whether there is nothing else that should be here. Without a part of the keys and pinsets, much of what could be
    /// told about the rest is not worth telling.
    pub(super) complete: bool,
}

/// Reads the files under `include`, each of which is read as text only.
pub(super) fn read_included(root: &Table<'_>, main: &Source, outside: &dyn Outside) -> Included {
    let included = Included { files: Vec::new(), complete: true };
    let Some(item) = root.item("include") else { return included };
    let mut reader = Reader {
        findings: root.findings,
        outside,
        main: outside.look(&main.path).ok().map(|found| found.canonical),
        seen: HashSet::new(),
        octets_left: FILES_OCTETS_MAX.saturating_sub(main.text.len()),
        included,
    };
    let patterns = item.elements();
    reader.included.complete = patterns.is_some();
    for pattern in patterns.unwrap_or_default() {
        for path in reader.paths_of(&pattern).unwrap_or_default() {
            reader.included.complete &= reader.take(&path, &pattern).is_some();
            if reader.seen.len() > INCLUDED_FILES_MAX {
                let message = format!("include names more than {INCLUDED_FILES_MAX} files");
                root.findings.error(Code::E48, &pattern.span(), message, "put several pinsets into one file");
                reader.included.complete = false;
                return reader.included;
            }
        }
    }
    reader.included
}

struct Reader<'f> {
    findings: &'f Findings,
    outside: &'f dyn Outside,
    /// Absent when the main file is none that could be included: a pipe, or a text in memory.
    main: Option<PathBuf>,
    /// Canonical paths.
    seen: HashSet<PathBuf>,
    octets_left: usize,
    included: Included,
}

impl Reader<'_> {
    /// The files that an entry of the list names; nothing when it cannot be told.
    fn paths_of(&mut self, item: &Item<'_>) -> Option<Vec<PathBuf>> {
        let paths = match item.words() {
            Some(text) if !text.value.contains(['*', '?', '[']) => Some(vec![item.beside(text.value)]),
            Some(text) => self.matches(item, text.value),
            None => None,
        };
        self.included.complete &= paths.is_some();
        paths
    }

    fn matches(&self, item: &Item<'_>, text: &str) -> Option<Vec<PathBuf>> {
        let refuse = |message: String, help: &str| self.findings.error(Code::E48, &item.span(), message, help);
        if text.contains("**") {
            let help = "name the folders: \"pinsets.d/*.toml\", \"pinsets.d/*/*.toml\"";
            refuse(format!("include does not search folders of any depth: {text:?}"), help);
            return None;
        }
        let folder = item.beside("");
        let Some(folder) = folder.to_str() else {
            let help = "name each file, or rename the folder";
            refuse("a pattern cannot be used here: the path of this folder is not UTF-8".into(), help);
            return None;
        };
        let whole = Path::new(&Pattern::escape(folder)).join(text);
        let pattern = match Pattern::new(&whole.to_string_lossy()) {
            Ok(pattern) => pattern,
            Err(error) => {
                let help = "write * for any characters of a name, ? for one, [abc] for one of several";
                refuse(format!("include holds {text:?}, which is no pattern: {}", error.msg), help);
                return None;
            }
        };
        match self.outside.matches(&pattern, INCLUDED_FILES_MAX + 1) {
            Ok(mut paths) => {
                paths.sort();
                if paths.is_empty() {
                    let help = "check the folder, or remove the entry when it is meant for later";
                    let message = format!("no file matches {text:?}");
                    self.findings.warning(Code::W19, &item.span(), message, help);
                }
                Some(paths)
            }
            Err(error) => {
                self.unreadable(&item.span(), format!("cannot look for {text:?}: {error}"));
                None
            }
        }
    }

    fn unreadable(&self, span: &Span, message: String) {
        self.findings.error(Code::E19, span, message, "check the path and the permissions");
    }

    /// Reads a file, unless it has been read; nothing when it is not what it should be, which has been reported.
    fn take(&mut self, path: &Path, item: &Item<'_>) -> Option<()> {
        let (span, name) = (item.span(), path.display());
        let Found { canonical, kind } = self
            .outside
            .look(path)
            .map_err(|error| self.unreadable(&span, format!("cannot read {name}: {error}")))
            .ok()?;
        if self.main.as_ref() == Some(&canonical) {
            let help = "keep what is included in a folder of its own, as in \"pinsets.d/*.toml\"";
            self.findings.error(Code::E48, &span, format!("the file includes itself: {name}"), help);
            return None;
        }
        if !self.seen.insert(canonical) {
            return Some(());
        }
        let help = "name regular files; for all in a folder write \"pinsets.d/*.toml\"";
        match kind {
            Kind::File => {}
            Kind::Folder => {
                self.findings.error(Code::E19, &span, format!("cannot read {name}: it is a folder"), help);
                return None;
            }
            Kind::Other => {
                self.findings.error(Code::E19, &span, format!("cannot read {name}: it is no regular file"), help);
                return None;
            }
        }
        let limit = FILE_OCTETS_MAX.min(self.octets_left);
        let octets = self.outside.read(path, limit + 1);
        let octets = octets.map_err(|error| self.unreadable(&span, format!("cannot read {name}: {error}"))).ok()?;
        if octets.len() > limit {
            self.refuse_size(&span, path, limit);
            return None;
        }
        self.octets_left -= octets.len();
        let file = |text| self.findings.add(Arc::new(Source::new(path, text)));
        match String::from_utf8(octets) {
            Ok(text) => {
                let file = file(text);
                self.included.files.push((file, self.findings.source(file)));
                Some(())
            }
            Err(error) => {
                let message = not_utf8(&error);
                self.findings.of_file(Code::E17, file(String::new()), message, Some(&span), UTF8_HELP);
                None
            }
        }
    }

    fn refuse_size(&self, span: &Span, path: &Path, limit: usize) {
        let message = if limit == FILE_OCTETS_MAX {
            format!("{} is larger than {} MiB", path.display(), FILE_OCTETS_MAX >> 20)
        } else {
            let all = FILES_OCTETS_MAX >> 20;
            format!("with {} the configuration is larger than {all} MiB", path.display())
        };
        self.findings.error(Code::E19, span, message, "name configuration files; real ones are far smaller");
    }
}

/// What helps with text in another encoding.
pub(super) const UTF8_HELP: &str = "save the file as UTF-8";

/// What is wrong with octets that are no text.
pub(super) fn not_utf8(error: &std::string::FromUtf8Error) -> String {
    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = valid.split(|octet| *octet == b'\n').count();
    format!("the file is not UTF-8 text: line {line} has a byte that does not belong there")
}

/// Whether an included file may hold this key.
pub(super) fn is_includable(key: &str) -> bool {
    INCLUDED.contains(&key)
}

/// Reports what an included file must not hold. `false` when something may be missing therefore.
pub(super) fn check_included(root: &Table<'_>) -> bool {
    let mut complete = true;
    for (key, span) in root.keys() {
        if key == "include" {
            let help = "name the files in the main file";
            root.findings.error(Code::E48, &span, "an included file cannot include others", help);
            complete = false;
        } else if is_includable(key) || !root.knows(key) {
            root.check_key(key, &span);
        } else {
            let message = format!("{key} belongs into the main file");
            let help = "move it there; included files hold [keys.NAME], [[pinset]], [[exempt]] and [[blocklist]]";
            root.findings.error(Code::E48, &span, message, help);
        }
    }
    complete
}
