# Shared by the install-*-dependencies scripts, which source it; see them for the packages.

# need PACKAGE REASON: notes a Debian package.
packages=()
need() {
    packages+=("$1")
    printf '  %-24s %s\n' "$1" "$2"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "error: this needs root, and there is no sudo: $*" >&2
        exit 1
    fi
}

# Installs what was noted and is missing. Nothing is fetched when nothing is missing.
install_needed() {
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "error: this is no Debian or Ubuntu system. Install these (names are Debian's) by other means:" >&2
        echo "  ${packages[*]}" >&2
        exit 1
    fi
    local package missing=()
    for package in "${packages[@]}"; do
        # shellcheck disable=SC2016 # dpkg's own variable
        case $(dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null) in
            ?i*) ;;
            *) missing+=("$package") ;;
        esac
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "All of them are installed."
        return
    fi
    echo "Installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update --quiet
    # Daemons that come with the packages must not start: the tests start their own.
    local policy=/usr/sbin/policy-rc.d ours=no status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        ours=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet --no-install-recommends "${missing[@]}" || status=$?
    if [ "$ours" = yes ]; then
        as_root rm -f "$policy"
    fi
    return "$status"
}
