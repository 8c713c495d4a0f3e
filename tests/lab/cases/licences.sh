#!/bin/bash
# scripts/licences refuses a dependency with a licence that is not allowed, and one that states none, by name; a
# package whose dependencies may all be shipped passes.
. "$(dirname "$0")/../lab.sh"

TRY=$(mktemp -d) || exit 1
trap 'rm -rf "$TRY"' EXIT
trap 'exit 143' INT TERM HUP

package() { # NAME LICENCE_LINE [DEPENDENCY]
    mkdir -p "$TRY/$1/src" && : >"$TRY/$1/src/lib.rs"
    printf '[package]\nname = "%s"\nversion = "1.2.3"\n%s\n' "$1" "$2" >"$TRY/$1/Cargo.toml"
    [ -z "${3:-}" ] || printf '[dependencies]\n%s = { path = "../%s" }\n' "$3" "$3" >>"$TRY/$1/Cargo.toml"
}

judged() { # NAME -> what scripts/licences says of it
    /usr/bin/python3 "$REPO/scripts/licences" "$TRY/$1/Cargo.toml" 2>&1
}

need_cargo
package free 'license = "MIT OR GPL-3.0-only"'
package copyleft 'license = "MIT AND GPL-3.0-only"'
package silent ''
for dependency in copyleft silent; do
    package "needs-$dependency" 'license = "MIT"' "$dependency"
    said=$(judged "needs-$dependency") && fail "a dependency that is $dependency passes"
    grep -q "^$dependency 1.2.3: licence .* is not in the allow list" <<<"$said" || fail "$dependency: says $said"
    ok "$(head -n 1 <<<"$said" | cut -c -75)"
done
package needs-free 'license = "MIT"' free
same "what may be shipped" "2 packages with allowed licences, 0 without" "$(judged needs-free)"
