//! `ONBUILD` triggers.

use serde_json::{Value, json};

use crate::support::s2i::{Looked, assembling, build, hello, image, refused, with};
use crate::support::s2i_builders::{Builder, source};

#[test]
fn onbuild_triggers_are_carried_out_in_order() {
    let builder = Builder::new()
        .without_label("io.openshift.s2i.scripts-url")
        .set("User", "0")
        .set(
            "OnBuild",
            json!([
                "ENV APP=/srv/app MODE=\"a b\"",
                "WORKDIR $APP",
                "COPY sub/*.txt a.txt data/",
                "RUN cat data/b.txt > joined && echo \"$MODE\" >> joined",
                "USER 1001",
                "COPY --chown=1001:0 . .",
                "RUN [\"/bin/sh\", \"-c\", \"id -u >> joined2; pwd >> joined2\"]",
            ]),
        );
    let builder = builder.files(|layer| {
        layer
            .dir("srv", 0o777, (0, 0))
            .dir("srv/app", 0o777, (0, 0))
    });
    let warpdrive = with(builder);
    let source = source(&[
        ("a.txt", "hello"),
        ("sub/b.txt", "there"),
        ("assemble", "id -u > assembled"),
        ("run*", "#!/bin/sh\n"),
    ]);
    image(&warpdrive, "box", source.path(), &["-e", "MORE=1"]);
    let looked = Looked::at(&warpdrive, "app");
    let files = looked.files();
    assert_eq!(files["srv/app/data/a.txt"].3, "hello");
    assert_eq!(files["srv/app/data/b.txt"].3, "there");
    assert_eq!(files["srv/app/joined"].3, "therea b\n");
    assert_eq!(files["srv/app/joined2"].3, "1001\n/srv/app\n");
    assert_eq!(files["srv/app/sub/b.txt"].1, 1001);
    assert_eq!(files["srv/app/assembled"].3, "1001\n");
    assert_eq!(*looked.inner("Entrypoint"), json!(["./run"]));
    assert_eq!(*looked.inner("User"), "1001");
    assert_eq!(*looked.inner("WorkingDir"), "/srv/app");
    assert_eq!(*looked.inner("OnBuild"), Value::Null);
    let env = looked.inner("Env").to_string();
    assert!(
        env.contains("APP=/srv/app") && env.contains("MODE=a b") && env.contains("MORE=1"),
        "{env}"
    );
    // The Go tool writes none in this case.
    assert_eq!(looked.label("io.openshift.s2i.build.image"), Some("box"));
}

#[test]
fn onbuild_comes_before_the_scripts_of_an_s2i_builder() {
    let warpdrive = with(
        assembling("cat /opt/app/early /tmp/src/a.txt > result").set(
            "OnBuild",
            json!([
                "COPY . /tmp/src",
                "RUN echo early > /opt/app/early",
                "ENV STEP=1"
            ]),
        ),
    );
    build(&warpdrive, "box", hello().path(), &[]);
    let looked = Looked::at(&warpdrive, "app");
    assert_eq!(looked.content("opt/app/result"), "early\nhello");
    assert_eq!(*looked.inner("Cmd"), json!(["/usr/libexec/s2i/run"]));
}

#[test]
fn triggers_that_make_no_sense_are_refused_with_the_reason() {
    for (trigger, part) in [
        ("VOLUME /data", "a volume hides"),
        ("EXPOSE 80", "S2I does itself"),
        ("ADD https://example.com/x /x", "fetches a URL"),
        ("ADD app.tar.gz /x", "unpack an archive"),
        ("COPY ../x /x", "leaves the source tree"),
        ("COPY nothing.txt /x", "no such file in the source"),
        ("RUN exit 5", "failed with status 5"),
    ] {
        let warpdrive = with(Builder::plain().set("OnBuild", json!([trigger])));
        let (_, _, words) = refused(&warpdrive, "box", hello().path(), &[]);
        assert!(words.contains(part), "{trigger}: {words}");
    }
    let warpdrive = with(
        Builder::new()
            .without_label("io.openshift.s2i.scripts-url")
            .set("Cmd", Value::Null)
            .set("OnBuild", json!(["COPY . /opt/app"])),
    );
    let (code, _, words) = refused(&warpdrive, "box", hello().path(), &[]);
    assert_eq!(code, 3, "{words}");
    assert!(
        words.contains("no file to start the application with"),
        "{words}"
    );
}
