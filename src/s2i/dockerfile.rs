//! Writes a build with an S2I builder as a Dockerfile, for users who must build with one.
//!
//! The same request gives the same text: labels are sorted, and nothing of this machine is in it.
//! Files that the build needs and the image must not have (injections, secrets) come by `RUN
//! --mount=type=secret`, never by `COPY` and `rm`. `CMD` has the exec form, so that the application is
//! process 1, and the user of the result is the builder image's own.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The first line; warpdrive may replace a directory whose Dockerfile begins with it.
pub const MARK: &str = "# A Dockerfile by `warpdrive s2i`.";

/// The content of the Dockerfile.
#[derive(Debug, Clone, Default)]
pub struct Dockerfile {
    pub builder: String,
    pub labels: BTreeMap<String, String>,
    /// One value for each name.
    pub env: Vec<(String, String)>,
    /// The directory for source and scripts; absolute.
    pub destination: String,
    /// The builder image's `USER`; empty is root.
    pub user: String,
    /// The user that runs assemble.
    pub assemble_user: String,
    /// Paths inside the image.
    pub assemble: String,
    pub run: String,
    /// Whether there is `upload/scripts`.
    pub scripts: bool,
    pub secrets: Vec<SecretMount>,
    /// The previous image, and its `save-artifacts`.
    pub cached: Option<(String, String)>,
}

/// A file that exists only during assemble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    pub id: String,
    /// Absolute.
    pub target: String,
}

impl Dockerfile {
    /// The text; an error for something that a Dockerfile cannot express.
    pub fn text(&self) -> Result<String, String> {
        for (what, text) in [
            ("the builder's name", &self.builder),
            ("the image's USER", &self.user),
            ("the user of assemble", &self.assemble_user),
        ] {
            let good = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
            if !text.chars().all(good) {
                return Err(format!(
                    "{what} is {text:?}, which cannot stand in a Dockerfile"
                ));
            }
        }
        let mut out = format!("{MARK}\n# Build it with: buildah build");
        for secret in &self.secrets {
            let _ = write!(out, " --secret id={},src=FILE", secret.id);
        }
        out.push_str(" DIRECTORY\n");
        let owner = owner(&self.assemble_user);
        if let Some((previous, save_artifacts)) = &self.cached {
            let script = shell(save_artifacts);
            let _ = write!(
                out,
                "FROM {previous} AS cached\nUSER root\nRUN if [ -s {script} ]; then {script} > /tmp/s2i-artifacts.tar; else : > /tmp/s2i-artifacts.tar; fi\n\n"
            );
        }
        let _ = writeln!(out, "FROM {}", self.builder);
        for (key, value) in &self.labels {
            let _ = writeln!(out, "LABEL {}={}", quoted(key), quoted(value));
        }
        for (name, value) in &self.env {
            let _ = writeln!(out, "ENV {name}={}", quoted(value));
        }
        if self.scripts {
            let _ = writeln!(
                out,
                "COPY {owner}{}",
                pair("upload/scripts", &format!("{}/scripts", self.destination))
            );
        }
        let _ = writeln!(
            out,
            "COPY {owner}{}",
            pair("upload/src", &format!("{}/src", self.destination))
        );
        if self.assemble_user != self.user {
            let _ = writeln!(out, "USER {}", or_root(&self.assemble_user));
        }
        out.push_str("RUN ");
        for secret in &self.secrets {
            if secret.target.contains([',', '"']) {
                return Err(format!(
                    "{:?} has a comma or a quote in it, which the option --mount of RUN cannot hold",
                    secret.target
                ));
            }
            let _ = write!(
                out,
                "--mount=type=secret,id={},target={},mode=0444 \\\n    ",
                secret.id,
                escaped(&secret.target)
            );
        }
        if self.cached.is_some() {
            let artifacts = shell(&format!("{}/artifacts", self.destination));
            let _ = write!(
                out,
                "--mount=type=bind,from=cached,source=/tmp/s2i-artifacts.tar,target=/run/s2i-artifacts.tar \\\n    if [ -s /run/s2i-artifacts.tar ]; then mkdir -p {artifacts} && tar -C {artifacts} -xf /run/s2i-artifacts.tar; fi && "
            );
        }
        let _ = writeln!(out, "{}", shell(&self.assemble));
        if self.assemble_user != self.user {
            let _ = writeln!(out, "USER {}", or_root(&self.user));
        }
        let _ = writeln!(out, "CMD {}", serde_json::json!([self.run]));
        Ok(out)
    }
}

fn or_root(user: &str) -> &str {
    if user.is_empty() { "root" } else { user }
}

/// `--chown` for a user that is not root; S2I images give everything to group 0.
fn owner(user: &str) -> String {
    match user {
        "" | "root" | "0" | "0:0" | "root:root" => String::new(),
        user if user.contains(':') => format!("--chown={user} "),
        user => format!("--chown={user}:0 "),
    }
}

/// A value in double quotes: no variable is expanded in it, and it stays on its line.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('"', "\\\""))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// `["from", "to"]`: names with blanks stay one.
fn pair(from: &str, to: &str) -> String {
    let word = |text: &str| {
        serde_json::Value::from(text)
            .to_string()
            .replace('$', "\\$")
    };
    format!("[{}, {}]", word(from), word(to))
}

/// A word of a shell's command line.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Dockerfile {
        Dockerfile {
            builder: "registry.example/builder:1".into(),
            destination: "/tmp".into(),
            user: "1001".into(),
            assemble_user: "1001".into(),
            assemble: "/usr/libexec/s2i/assemble".into(),
            run: "/usr/libexec/s2i/run".into(),
            ..Dockerfile::default()
        }
    }

    #[test]
    fn the_shortest_one() {
        assert_eq!(
            plain().text().unwrap(),
            "# A Dockerfile by `warpdrive s2i`.\n\
             # Build it with: buildah build DIRECTORY\n\
             FROM registry.example/builder:1\n\
             COPY --chown=1001:0 [\"upload/src\", \"/tmp/src\"]\n\
             RUN /usr/libexec/s2i/assemble\n\
             CMD [\"/usr/libexec/s2i/run\"]\n"
        );
    }

    #[test]
    fn all_of_it_in_the_same_order_always() {
        let mut all = plain();
        for key in ["z", "a", "m"] {
            all.labels
                .insert(key.into(), format!("{key} \"$x\\\n{key}"));
        }
        all.env = vec![("B".into(), "$HOME".into()), ("A".into(), "x y".into())];
        all.scripts = true;
        all.user = String::new();
        all.secrets = vec![SecretMount {
            id: "npmrc".into(),
            target: "/opt/app-root/src/.npmrc".into(),
        }];
        all.cached = Some(("app:1".into(), "/s/save-artifacts".into()));
        all.run = "/tmp/scripts/it's run".into();
        all.assemble = "/tmp/scripts/it's".into();
        let text = all.text().unwrap();
        assert_eq!(
            text,
            "# A Dockerfile by `warpdrive s2i`.\n\
             # Build it with: buildah build --secret id=npmrc,src=FILE DIRECTORY\n\
             FROM app:1 AS cached\n\
             USER root\n\
             RUN if [ -s /s/save-artifacts ]; then /s/save-artifacts > /tmp/s2i-artifacts.tar; else : > /tmp/s2i-artifacts.tar; fi\n\
             \n\
             FROM registry.example/builder:1\n\
             LABEL \"a\"=\"a \\\"\\$x\\\\ a\"\n\
             LABEL \"m\"=\"m \\\"\\$x\\\\ m\"\n\
             LABEL \"z\"=\"z \\\"\\$x\\\\ z\"\n\
             ENV B=\"\\$HOME\"\n\
             ENV A=\"x y\"\n\
             COPY --chown=1001:0 [\"upload/scripts\", \"/tmp/scripts\"]\n\
             COPY --chown=1001:0 [\"upload/src\", \"/tmp/src\"]\n\
             USER 1001\n\
             RUN --mount=type=secret,id=npmrc,target=/opt/app-root/src/.npmrc,mode=0444 \\\n    \
             --mount=type=bind,from=cached,source=/tmp/s2i-artifacts.tar,target=/run/s2i-artifacts.tar \\\n    \
             if [ -s /run/s2i-artifacts.tar ]; then mkdir -p /tmp/artifacts && tar -C /tmp/artifacts -xf /run/s2i-artifacts.tar; fi && '/tmp/scripts/it'\\''s'\n\
             USER root\n\
             CMD [\"/tmp/scripts/it's run\"]\n"
        );
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        let mut evil = plain();
        evil.labels.insert("k\nRUN x".into(), "v\nRUN y".into());
        evil.env = vec![("A".into(), "\"\nRUN z".into())];
        let text = evil.text().unwrap();
        assert_eq!(
            text.lines().filter(|line| line.starts_with("RUN")).count(),
            1
        );
        for builder in ["x\nRUN y", "x AS y", "$x"] {
            let mut evil = plain();
            evil.builder = builder.into();
            assert!(evil.text().is_err());
        }
    }
}
