use super::*;

/// The verdict about `path` as a walk from the root comes to it: `None` where the walk does not
/// enter a directory above it.
fn included(lists: &Lists, path: &str) -> bool {
    let file = |name, text: Option<&str>| {
        text.map(|text| RootFile {
            name,
            text: text.as_bytes().to_vec(),
        })
    };
    let rules = Rules::new(
        file(".dockerignore", lists.docker),
        file(".s2iignore", lists.s2i),
        &[],
    )
    .unwrap();
    let mut git = GitLists::default();
    let mut verdict = Verdict::root();
    let parts: Vec<&str> = path.split('/').collect();
    let mut walked = PathBuf::new();
    for (index, part) in parts.iter().enumerate() {
        for (base, text) in lists.git {
            if Path::new(base) == walked {
                git = git.with(&walked, text.as_bytes()).unwrap();
            }
        }
        walked.push(part);
        let is_dir = index + 1 < parts.len();
        let tracked = lists
            .tracked
            .iter()
            .any(|file| Path::new(file).starts_with(&walked));
        verdict = rules.judge(&walked, is_dir, &verdict, &git, tracked);
        let entered = verdict.included
            || (tracked && verdict.level <= Level::Tracked)
            || rules.may_reinclude_below(&walked, &verdict);
        if is_dir && !entered {
            return false;
        }
    }
    verdict.included
}

#[derive(Default)]
struct Lists<'a> {
    git: &'a [(&'a str, &'a str)],
    docker: Option<&'a str>,
    s2i: Option<&'a str>,
    tracked: &'a [&'a str],
}

fn check(lists: &Lists, cases: &[(&str, bool)]) {
    for (path, expected) in cases {
        assert_eq!(included(lists, path), *expected, "{path}");
    }
}

#[test]
fn defaults_at_every_depth() {
    check(
        &Lists::default(),
        &[
            ("app.py", true),
            (".git/config", false),
            ("sub/.git", false),
            (".gitignore", true),
            (".github/workflows/x.yml", true),
            (".venv/bin/python", false),
            ("venv/bin/python", false),
            ("app/venv.py", true),
            ("app/__pycache__/x.pyc", false),
            ("frontend/node_modules/a/b.js", false),
            (".env", false),
            ("conf/.env", false),
            (".env.example", true),
            (".env.production", true),
            (".env.local", false),
            ("db.sqlite3", false),
            ("app/cache/x.py", true),
            (".coverage", false),
            (".coveragerc", true),
            (".warpdrive/action_hooks/build", true),
            (".s2i/environment", true),
            ("#x#", false),
            ("a~", false),
            ("-rf", true),
        ],
    );
}

#[test]
fn gitignore_as_git_reads_it() {
    let lists = Lists {
        git: &[
            (
                "",
                "*.log\n!keep.log\nbuild/\n/rooted\n# comment\n\\#hash\nspace\\ \n!.env\n",
            ),
            ("app", "!debug.log\nlocal.py\n"),
        ],
        ..Lists::default()
    };
    check(
        &lists,
        &[
            ("a.log", false),
            ("keep.log", true),
            ("app/x/keep.log", true),
            ("app/debug.log", true),
            ("debug.log", false),
            ("app/local.py", false),
            ("local.py", true),
            ("build/keep.log", false),
            ("src/build/x", false),
            ("rooted", false),
            ("app/rooted", true),
            ("#hash", false),
            ("space ", false),
            (".env", true), // asked for by name
        ],
    );
}

#[test]
fn what_git_tracks_is_asked_for_but_git_itself_is_not() {
    let lists = Lists {
        git: &[("", "*.log\nstatic/\n")],
        tracked: &[
            "a.log",
            "static/logo.png",
            ".env",
            "node_modules/x/y.js",
            ".git/config",
            "tests/t.py",
        ],
        docker: Some("tests\n"),
        ..Lists::default()
    };
    check(
        &lists,
        &[
            ("a.log", true),
            ("b.log", false),
            ("static/logo.png", true),
            ("static/other.png", false),
            (".env", true),
            ("node_modules/x/y.js", true),
            ("node_modules/x/z.js", false),
            ("node_modules/w/z.js", false),
            (".git", false),
            // The lists for images come before git.
            ("tests/t.py", false),
        ],
    );
}

#[test]
fn dockerignore_as_docker_reads_it() {
    let lists = Lists {
        docker: Some(
            "# comment\nstatic\n**/*.tmp\n/docs/\n./a//b/\n*/secret.txt\nlogs\n!logs/keep\n",
        ),
        ..Lists::default()
    };
    check(
        &lists,
        &[
            ("static/x.css", false),
            ("app/static/x.css", true), // anchored at the root
            ("x.tmp", false),
            ("app/x/y.tmp", false),
            ("docs/x", false),
            ("a/b/c", false),
            ("a/c", true),
            ("app/secret.txt", false),
            ("secret.txt", true),
            ("app/x/secret.txt", true),
            ("logs/x", false),
            ("logs/keep", true),
            ("logs/keep/x", true),
        ],
    );
    // The style that excludes everything except named paths.
    let lists = Lists {
        docker: Some("*\n!app\n!requirements.txt\n!.env.d\n"),
        ..Lists::default()
    };
    check(
        &lists,
        &[
            ("app/main.py", true),
            ("app/deep/er/main.py", true),
            ("app/__pycache__/main.pyc", false),
            ("app/.env", false),
            ("requirements.txt", true),
            ("README.md", false),
            ("tests/app/x.py", false),
        ],
    );
}

#[test]
fn later_lists_win() {
    let lists = Lists {
        git: &[("", "dist/*\n*.map\nbuild/\n")],
        docker: Some("assets\nbuild/only-docker\n"),
        s2i: Some("!dist/\n!build/\n!assets/logo.png\n*.bak\n"),
        tracked: &["x.bak"],
    };
    check(
        &lists,
        &[
            ("dist/app.js", true),
            ("dist/app.js.map", true), // comes with its directory
            ("x.js.map", false),
            ("build/x", true),
            ("build/__pycache__/x", false), // but not what the defaults leave out
            ("build/only-docker", true),
            ("assets/logo.png", true),
            ("assets/other.png", false),
            ("x.bak", false),
        ],
    );
}

#[test]
fn wildcards_do_not_ask_for_what_the_defaults_leave_out() {
    let lists = |text| Lists {
        s2i: Some(text),
        ..Lists::default()
    };
    check(
        &lists("!*\n!**\n!**/*.py\n"),
        &[
            (".env", false),
            (".git/x.py", false),
            (".venv/lib/x.py", false),
            ("x.py", true),
        ],
    );
    check(
        &lists("!*.sqlite3\n!.env\n!.venv/bin/tool\n"),
        &[
            ("db.sqlite3", true),
            (".env", true),
            (".venv/bin/tool", true),
            (".venv/bin/other", false),
        ],
    );
    check(
        &lists("!.git\n"),
        &[(".git/HEAD", true), (".git/x/__pycache__/y", false)],
    );
}

#[test]
fn a_pattern_that_is_none_is_named() {
    let file = RootFile {
        name: ".s2iignore",
        text: b"fine\n[z-a]\n".to_vec(),
    };
    let error = Rules::new(None, Some(file), &[]).unwrap_err().to_string();
    assert!(error.contains("line 2 of `.s2iignore`"), "{error}");
    // git passes over such a line.
    assert!(GitLists::default().with(Path::new(""), b"[z-a]\n").is_ok());
}

#[test]
fn options_outrank_every_list() {
    let s2i = RootFile {
        name: ".s2iignore",
        text: b"!x\n".to_vec(),
    };
    let rules = Rules::new(None, Some(s2i), &["x".to_owned()]).unwrap();
    let verdict = rules.judge(
        Path::new("x"),
        false,
        &Verdict::root(),
        &GitLists::default(),
        true,
    );
    assert!(!verdict.included);
}
