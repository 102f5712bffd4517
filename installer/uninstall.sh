#!/bin/sh
# Removes Runner as install.sh put it there. Models, config and logs stay:
#
#     sh uninstall.sh [APP] [--purge] [--dry-run] [--yes]
#
# APP is the folder with Runner's environment, by default the one that this file lies in. --purge removes models,
# config and logs as well.
set -eu

say() { printf '%s\n' "$*" >&2; }
die() { say "uninstall: $*" && exit 1; }

app='' purge=no dry=no yes=no
for option in "$@"; do
    case $option in
    --purge) purge=yes ;;
    --dry-run) dry=yes ;;
    --yes | -y) yes=yes ;;
    -h | --help) sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0" && exit 0 ;;
    -*) say "uninstall: there is no option $option" && exit 2 ;;
    *) app=$option ;;
    esac
done
[ -n "$app" ] || app=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
[ -f "$app/installed" ] || die "there is no Runner in $app"

runner() { "$app/current/bin/python" -I -m runner "$@" >/dev/null 2>&1; }

# Five lines: Runner's own folders, as it finds them: data, state, cache, config, runtime; then the store's.
folders=$("$app/current/bin/python" -I -c '
from runner.config import folders, load_usable
where = folders()
print(where.data, where.state, where.cache, where.config, where.runtime, sep="\n")
print(load_usable()[0].models)' 2>/dev/null) || folders=''
folder() { printf '%s\n' "$folders" | sed -n "$1p"; }
data=$(folder 1) state=$(folder 2) cache=$(folder 3) config=$(folder 4) runtime=$(folder 5) models=$(folder 6)

agreed() { # agreed QUESTION
    if [ "$yes" = yes ]; then return; fi
    [ -t 0 ] || die "$1 Nobody is there to ask; --yes says so beforehand"
    printf '%s [y/N] ' "$1" >&2
    read -r answer || answer=n
    case $answer in [Yy]*) ;; *) say 'Nothing was done.' && exit 1 ;; esac
}

say "Remove Runner: $app"
sed -e 's/^edited \(.*\)/lines in \1/' -e 's/^/  /' "$app/installed" >&2
if [ "$purge" = yes ]; then
    for each in "$data" "$state" "$config"; do [ ! -e "$each" ] || say "  $each, with all that is in it"; done
fi
[ "$dry" = no ] || exit 0
if [ "$purge" = yes ]; then
    agreed 'Models, config and logs are removed too. Is that meant?'
elif [ -t 0 ]; then
    agreed 'Remove it? Models, config and logs stay.'
fi

if runner service --help; then
    runner service uninstall --user || :
    if [ "$(id -u)" -eq 0 ]; then
        runner service uninstall --system || :
    elif runner service status --system; then
        die 'the whole machine has a service that runs this Runner; first: sudo runner service uninstall --system'
    fi
fi
status=0 && runner shutdown || status=$?
case $status in 0 | 1 | 69 | 127) ;; *) die 'the running daemon could not be ended (see: runner shutdown); nothing was removed' ;; esac

while IFS= read -r line; do
    case $line in
    'edited '*)
        file=${line#edited }
        [ -f "$file" ] || continue
        # Written back into the same file: it may be a link, and has its owner's mode.
        kept=$(sed '/^# >>> runner >>>$/,/^# <<< runner <<<$/d' "$file"; echo .)
        printf '%s' "${kept%.}" >"$file"
        [ -s "$file" ] || rm -f "$file"
        ;;
    *) rm -f "$line" ;;
    esac
done <"$app/installed"

empty() { # remove a folder and those above it, as far as nothing is in them, up to the home or a system's folder
    at=$1
    while :; do
        case $at in / | "${HOME-}" | /usr | /usr/local | /usr/local/* | /opt | /var | /tmp) return ;; esac
        rmdir "$at" 2>/dev/null || return 0
        at=$(dirname -- "$at")
    done
}

listed=$(grep -v '^edited ' "$app/installed"; sed -n 's/^edited //p' "$app/installed")
rm -rf "$app"
printf '%s\n' "$listed" | while IFS= read -r line; do empty "$(dirname -- "$line")"; done
empty "$(dirname -- "$app")"

# What can be made again goes, what is a user's own stays.
for each in "$cache" "$runtime"; do
    if [ -n "$each" ]; then rm -rf "$each" && empty "$(dirname -- "$each")"; fi
done
if [ "$purge" = yes ]; then
    for each in "$data" "$state" "$config"; do
        if [ -n "$each" ]; then rm -rf "$each" && empty "$(dirname -- "$each")"; fi
    done
    case $models/ in
    "$data"/* | /) ;;
    *) [ ! -e "$models" ] || say "The store in $models is not in Runner's own folder, and stays." ;;
    esac
elif [ -n "$state" ] && [ -d "$state" ]; then
    find "$state" -mindepth 1 -maxdepth 1 ! -name logs -exec rm -rf {} +
    empty "$state"
fi
if [ "$purge" = no ]; then
    for each in "$models" "$config" "$state/logs"; do [ ! -e "$each" ] || say "kept: $each"; done
fi
say 'Runner is removed.'
