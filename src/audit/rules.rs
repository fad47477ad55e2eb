//! The catalogue of rules: what each is called, why it exists, what to do about a finding.
//!
//! The severity here is the highest that the rule gives; a finding may have a lower one where it
//! does less harm.

use serde::Serialize;

use super::finding::Severity;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub id: &'static str,
    pub severity: Severity,
    pub title: &'static str,
    pub explanation: &'static str,
    pub remedy: &'static str,
}

const fn rule(
    id: &'static str,
    severity: Severity,
    title: &'static str,
    explanation: &'static str,
    remedy: &'static str,
) -> Rule {
    Rule {
        id,
        severity,
        title,
        explanation,
        remedy,
    }
}

use Severity::{High, Info, Low, Medium};

const NUMBER: &str = "set USER to a decimal number above 0, such as 1001";

/// All rules, in the order in which findings of one severity are shown.
pub const RULES: [Rule; 49] = [
    rule(
        "user-missing",
        High,
        "The image declares no user",
        "Without `User` in its configuration, an image runs as root.",
        NUMBER,
    ),
    rule(
        "user-root",
        High,
        "The image declares root as its user",
        "The image's processes run as root, whatever is done about it inside.",
        NUMBER,
    ),
    rule(
        "user-name",
        High,
        "The image declares its user by name",
        "A name is looked up in the image's own /etc/passwd, where any layer can map it to uid 0; a platform cannot know who `app` is without reading the image.",
        NUMBER,
    ),
    rule(
        "user-malformed",
        High,
        "The declared user is not a decimal number from 1 to 2³²−2",
        "Container engines read signs, leading zeros and numbers that are too large in different ways, some of them as 0.",
        NUMBER,
    ),
    rule(
        "user-group",
        High,
        "The declared group is not a decimal number",
        "A group's name is looked up in the image's own /etc/group, which any layer can change; odd numbers are read in different ways.",
        "set the group to a decimal number, such as 0 in `1001:0`, or leave it out",
    ),
    rule(
        "account-root-alias",
        High,
        "An account other than root has uid 0",
        "A process that becomes this user is root under another name.",
        "remove the account, or give it a uid of its own",
    ),
    rule(
        "account-mapping",
        High,
        "/etc/passwd maps the declared uid in a strange way",
        "An account whose name is the declared number, or several accounts with the declared uid, let an engine pick another user than the number says.",
        "keep one account for the uid, with a name that is not a number",
    ),
    rule(
        "account-malformed",
        High,
        "An account's numbers are malformed",
        "Programs read such a field in different ways, some of them as 0, which is root.",
        "write uid and gid as plain decimal numbers, seven fields to a line",
    ),
    rule(
        "account-unreadable",
        High,
        "A file that decides which users may be root cannot be judged",
        "It is a link, or not of a form or size that such a file has, so that what a program makes of it is not known from here.",
        "make it a plain file of its own",
    ),
    rule(
        "account-subid",
        Medium,
        "A user may map root's own id into a user namespace",
        "Files of the id 0 belong to the container's root; a program that maps the id for the user makes the user their owner.",
        "give subordinate ids from 100000 on, or remove the range",
    ),
    rule(
        "runtime-group",
        High,
        "The image's user is in a group that is as good as root",
        "Members of such a group read password hashes or raw disks, or talk to daemons that act as root.",
        "take the user out of the group",
    ),
    rule(
        "password-empty",
        High,
        "An account has an empty password",
        "`su` and login let anybody in without asking.",
        "lock the account: `passwd -l NAME`",
    ),
    rule(
        "password-weak",
        High,
        "An account has a password that is weak, or weakly hashed",
        "Everyone who has the image has the hash, and such a hash is broken by trying.",
        "lock the account: `passwd -l NAME`",
    ),
    rule(
        "password-usable",
        High,
        "An account has a password",
        "All containers of the image share it. Root's password is of high severity if a program asks for it: the image's author knows it, and can become root in every container.",
        "lock the account: `passwd -l NAME`",
    ),
    rule(
        "sudo-nopasswd",
        High,
        "sudo makes the image's user root without a password",
        "A rule for the user, for one of its groups (gid 0 among them, which platforms give to arbitrary uids) or for ALL needs no password.",
        "remove the rule, or better the package sudo",
    ),
    rule(
        "sudo-rule",
        High,
        "sudo lets the image's user or others act as root",
        "A rule applies to the image's user, or lets other users act without a password. It is of high severity if the password that is asked for is empty or known to the image's author, also if the rule is for another account that the user can become with `su`.",
        "remove the rule, or better the package sudo; lock the accounts: `passwd -l NAME`",
    ),
    rule(
        "sudo-setting",
        High,
        "A setting makes sudo write, read or run as root what the image's author named",
        "sudo does so for every user who calls it, also for one without a rule: a log that is /etc/passwd, for example, gets lines that are accounts with root's rights.",
        "remove the setting, or better the package sudo",
    ),
    rule(
        "doas-rule",
        High,
        "doas lets the image's user act as root",
        "A `permit` rule applies to the image's user or one of its groups.",
        "remove the rule, or better the package",
    ),
    rule(
        "setuid",
        High,
        "A program that distributions do not ship so has the setuid bit",
        "A user who runs it acts as the file's owner. A copy of any program with mode 4711 is a way to root.",
        "take the bit away (`chmod u-s`), or remove the file, in the layer that adds it",
    ),
    rule(
        "setuid-changed",
        High,
        "A setuid program is not the one that the distribution ships",
        "The file has the name of a known setuid program, and other content than the image's package database says.",
        "reinstall the package, and find out who changed it",
    ),
    rule(
        "setuid-unowned",
        High,
        "A setuid program with a well-known name belongs to no package",
        "The image has a package database, and no package has the file: any program can stand behind a known name.",
        "remove it, or install the package that has it",
    ),
    rule(
        "self-vouched",
        Medium,
        "Only a package database that came later confirms what runs as root",
        "A layer can bring a program and a database that confirms it, so the image alone cannot tell a package's file from an exchanged one.",
        "name the base that you trust: `warpdrive audit IMAGE --trusted-base REF`; what came after it is refused unless the base's own database confirms it",
    ),
    rule(
        "setuid-unverified",
        Medium,
        "A known setuid program's content cannot be verified",
        "The image has no package database that says what its content should be.",
        "use a base image whose package database is kept, or take the bit away",
    ),
    rule(
        "setuid-known",
        Info,
        "A known setuid program",
        "The distribution ships it so, and its content is as shipped. Few images need it.",
        "`--harden`, or `no_new_privs` at run time",
    ),
    rule(
        "base-unproven",
        Info,
        "Nothing outside of the image confirms its lowest layer",
        "An attacker who replaced a program of the lowest layer could also replace the package database that confirms it.",
        "name the base that you trust: `warpdrive audit IMAGE --trusted-base REF`",
    ),
    rule(
        "setuid-hidden",
        Medium,
        "A lower layer has a setuid program that a higher one hides",
        "The file is still part of the image: every user who can mount or unpack its layers has it.",
        "leave it out of the layer that adds it",
    ),
    rule(
        "setgid",
        High,
        "A program that distributions do not ship so has the setgid bit",
        "A user who runs it has the file's group.",
        "take the bit away (`chmod g-s`)",
    ),
    rule(
        "capability",
        High,
        "A program has file capabilities",
        "A user who runs it gets a part of root's power; some parts are as good as all of it.",
        "remove them: `setcap -r FILE`",
    ),
    rule(
        "account-writable",
        High,
        "Users other than root can write to a file that decides which users may be root",
        "A user who can write to /etc/passwd or a similar file can add an account with uid 0. Platforms give arbitrary uids the group 0.",
        "make it root's with mode 0644, or 0640 for shadow and 0440 for sudoers",
    ),
    rule(
        "path-writable",
        High,
        "A program or library of the system can be written by others than root",
        "What root runs or loads one day can be exchanged by the image's user.",
        "`chmod go-w`, and root as the owner",
    ),
    rule(
        "path-created",
        High,
        "The configuration makes an engine create a directory in the system",
        "Engines create a working directory or a volume that the image does not have and give it to the image's user; in a system directory, root's programs load or ask what lies there.",
        "set WorkingDir and Volumes to the application's own directories",
    ),
    rule(
        "sticky-missing",
        Medium,
        "A world-writable directory has no sticky bit",
        "Anybody can remove and replace the files of others in it.",
        "`chmod +t`, or `chmod o-w`",
    ),
    rule(
        "preload",
        High,
        "A library is loaded into every program",
        "/etc/ld.so.preload names libraries that are loaded into setuid programs, too: their code runs as root.",
        "remove the file; give libraries to one program with LD_PRELOAD in its environment",
    ),
    rule(
        "library",
        High,
        "A file that programs load or run as root is not the distribution's",
        "A setuid program runs the code of its libraries, of PAM's and the name service's modules, of sudo's plugins and of modules for character sets as root. A file that no package has, or with other content than its package's, can be anything.",
        "take the file, or the line that names it (ld.so.cache, gconv-modules, pam.d, nsswitch.conf, sudo.conf), out of the layer that adds it; or take the setuid bits away (`--harden`)",
    ),
    rule(
        "pam",
        High,
        "PAM lets anybody become another user without a password, or runs a program as root",
        "The service's `auth` stack can succeed for a person who knows no secret, or a stack runs a program as root: before a password is asked for, or for a user who knows an account's password.",
        "restore the service's file below /etc/pam.d as the package has it, or take the setuid bits away (`--harden`)",
    ),
    rule(
        "name-service",
        High,
        "Accounts come from a database that is not judged",
        "/etc/nsswitch.conf makes programs read users and passwords from files other than /etc/passwd and /etc/shadow; an entry there can be root.",
        "remove the database, or its source from /etc/nsswitch.conf",
    ),
    rule(
        "device",
        High,
        "The image contains a device node",
        "Where it can be opened, it gives the disk, the memory or the terminal behind it. Engines make the devices that a container needs.",
        "remove it",
    ),
    rule(
        "secret-key",
        High,
        "A private key is in a layer",
        "Every user who can pull the image has it; deleting it in a later layer does not help.",
        "build without it (`--secret`), and replace the key",
    ),
    rule(
        "secret-token",
        High,
        "A service's token is in a layer or in the configuration",
        "Every user who can pull the image has it; deleting it in a later layer does not help.",
        "build without it (`--secret`), and revoke the token",
    ),
    rule(
        "secret-file",
        High,
        "A file that holds secrets is in a layer",
        "Every user who can pull the image has it; deleting it in a later layer does not help.",
        "leave it out (.dockerignore, .s2iignore), and replace the secrets",
    ),
    rule(
        "secret-credentials",
        High,
        "A login is in a configuration file or a variable",
        "Every user who can pull the image has it; deleting it in a later layer does not help.",
        "build without it (`--secret`), and change the password",
    ),
    rule(
        "secret-repository",
        Medium,
        "A .git directory is in a layer",
        "It has all that was ever committed, and often a remote's address with a token.",
        "leave .git out (.dockerignore, .s2iignore)",
    ),
    rule(
        "secret-variable",
        Medium,
        "The configuration sets a variable that looks like a secret",
        "Every user who can pull the image, or list its containers, can read its environment.",
        "give it at run time",
    ),
    rule(
        "app-unusable",
        Medium,
        "Files of the app cannot be used by an arbitrary uid with gid 0",
        "Platforms such as OpenShift run an image as any uid with gid 0; such a process cannot read, enter or execute these.",
        "give them group 0 and the group what the owner has: `chgrp -R 0` and `chmod -R g=u`",
    ),
    rule(
        "app-readonly",
        Low,
        "Files of the app cannot be written by an arbitrary uid with gid 0",
        "Where the app writes to them, it fails on platforms that run an image as any uid with gid 0.",
        "give them group 0 and the group what the owner has: `chgrp -R 0` and `chmod -R g=u`",
    ),
    rule(
        "development-server",
        Medium,
        "The image starts a server for developers, or in debug mode",
        "Such a server reloads files, shows the source and the variables in its error pages, and some let a user who sees one run code.",
        "start it with a server for production, and turn debug mode off where the image runs",
    ),
    rule(
        "workdir-missing",
        Low,
        "The image declares no working directory",
        "It starts in /, where nothing can be written and relative paths meet the system's own.",
        "set WORKDIR to the app's directory",
    ),
    rule(
        "layer-path",
        High,
        "A layer has an entry that programs unpack differently",
        "A name with `..` may lead outside the image; a hard link with another owner, an attribute of overlayfs or a path through a link of the same layer may make other files than the audit sees.",
        "build the layer with a sound tool",
    ),
    rule(
        "policy-expired",
        Low,
        "An exception of the policy has expired",
        "What it excused is reported again.",
        "look at the reason, then renew or remove the exception",
    ),
];

pub fn by_id(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// The position of a rule in the catalogue.
pub(super) fn position(id: &str) -> usize {
    RULES
        .iter()
        .position(|rule| rule.id == id)
        .unwrap_or(RULES.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_words_and_unique_and_texts_are_there() {
        for (index, rule) in RULES.iter().enumerate() {
            assert_eq!(position(rule.id), index, "{}", rule.id);
            assert!(rule.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(!rule.title.ends_with('.') && rule.explanation.ends_with('.'));
            assert!(!rule.remedy.is_empty() && !rule.remedy.ends_with('.'));
        }
    }
}
