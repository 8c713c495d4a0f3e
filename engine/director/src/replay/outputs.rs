//! What is written must be no file that is read, and no two of them one.

use super::args::Args;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

/// Looks at all paths that the arguments name, before anything is written.
///
/// # Errors
/// In words: two of them are one file.
pub(super) fn are_apart(args: &Args, captures: &[PathBuf]) -> Result<(), String> {
    let mut others: Vec<(&str, &Path)> =
        captures.iter().map(|path| ("the capture", path.as_path())).collect();
    others.extend(args.config.as_deref().map(|path| ("the configuration", path)));
    for (option, path) in [("--out", &args.output), ("--report", &args.report)] {
        let Some(path) = path else { continue };
        if let Some((what, same)) = others.iter().find(|(_, other)| is_same_file(path, other)) {
            let (path, same) = (path.display(), same.display());
            return Err(format!(
                "{option} {path} is the same file as {what} {same}: give another name"
            ));
        }
        others.push((option, path));
    }
    Ok(())
}

/// Devices and pipes are no files that could be overwritten.
fn is_same_file(a: &Path, b: &Path) -> bool {
    let id = |p: &Path| std::fs::metadata(p).map(|m| (m.dev(), m.ino(), m.is_file()));
    match (id(a), id(b)) {
        (Ok(a), Ok(b)) => a == b && a.2,
        // Neither is there yet: they will be one where they have one place.
        (Err(_), Err(_)) => place(a).is_some_and(|a| Some(a) == place(b)),
        _ => false,
    }
}

/// Where a file will be.
fn place(path: &Path) -> Option<PathBuf> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    Some(parent.unwrap_or(Path::new(".")).canonicalize().ok()?.join(path.file_name()?))
}
