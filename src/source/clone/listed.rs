//! What a repository says that its references are.

use super::super::location::{check_reference, is_commit_id};
use super::Wanted;

/// The answer of `git ls-remote --symref`.
#[derive(Debug, Default)]
pub(super) struct Listed {
    ids: Vec<(String, String)>,
    /// What `HEAD` points to.
    head: Option<String>,
}

impl Listed {
    pub(super) fn read(text: &str) -> Self {
        let mut listed = Self::default();
        for line in text.lines() {
            let Some((first, name)) = line.split_once('\t') else {
                continue;
            };
            if let Some(target) = first.strip_prefix("ref: ") {
                if name == "HEAD" {
                    listed.head = Some(target.to_owned());
                }
            } else if is_commit_id(first) {
                listed.ids.push((name.to_owned(), first.to_owned()));
            }
        }
        listed
    }

    pub(super) fn id(&self, name: &str) -> Option<&str> {
        self.ids
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, id)| id.as_str())
    }

    pub(super) fn find(&self, name: &str) -> Option<Wanted> {
        if name == "HEAD" {
            let id = self.id("HEAD")?.to_owned();
            let branch = self
                .head
                .as_deref()
                .and_then(|head| head.strip_prefix("refs/heads/"));
            return Some(match branch {
                Some(branch) if check_reference(branch).is_ok() => Wanted::Branch {
                    name: branch.to_owned(),
                    id,
                },
                _ => Wanted::Name {
                    name: "HEAD".into(),
                    id,
                },
            });
        }
        let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
        if let Some(id) = self.id(&format!("refs/heads/{branch}")) {
            return Some(Wanted::Branch {
                name: branch.to_owned(),
                id: id.to_owned(),
            });
        }
        [name.to_owned(), format!("refs/tags/{name}")]
            .into_iter()
            .find_map(|full| {
                let id = self.id(&full)?.to_owned();
                Some(Wanted::Name { name: full, id })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_ls_remote() {
        let id = |digit: &str| digit.repeat(40);
        let text = format!(
            "ref: refs/heads/trunk\tHEAD\n{}\tHEAD\n{}\trefs/heads/x\n{}\trefs/tags/x\n{}\trefs/tags/v1\n{}\trefs/evil/refs/heads/y\n",
            id("a"),
            id("b"),
            id("c"),
            id("d"),
            id("e")
        );
        let listed = Listed::read(&text);
        assert_eq!(
            listed.find("HEAD"),
            Some(Wanted::Branch {
                name: "trunk".into(),
                id: id("a")
            })
        );
        assert_eq!(
            listed.find("x"),
            Some(Wanted::Branch {
                name: "x".into(),
                id: id("b")
            })
        );
        assert_eq!(listed.find("refs/heads/x"), listed.find("x"));
        assert_eq!(
            listed.find("refs/tags/x"),
            Some(Wanted::Name {
                name: "refs/tags/x".into(),
                id: id("c")
            })
        );
        assert_eq!(
            listed.find("v1"),
            Some(Wanted::Name {
                name: "refs/tags/v1".into(),
                id: id("d")
            })
        );
        assert_eq!(listed.find("y"), None);
        assert_eq!(Listed::read("garbage\n\t\nxyz\tHEAD").find("HEAD"), None);
    }
}
