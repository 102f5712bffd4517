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

# Six lines: Runner's own folders, as it finds them: data, state, cache, config, runtime; then the store's.
ask_folders() {
    "$app/current/bin/python" -I -c '
from runner.config import folders, load_usable
where = folders()
print(where.data, where.state, where.cache, where.config, where.runtime, sep="\n")
print(load_usable()[0].models)'
}
known=yes && folders=$(ask_folders 2>/dev/null) || known=no
[ "$(printf '%s\n' "$folders" | grep -c '^/')" -eq 6 ] && [ "$(printf '%s\n' "$folders" | grep -c '')" -eq 6 ] || known=no
if [ "$known" = no ]; then
    # Without it neither the daemon nor the service can be ended in order, and nobody knows where the models are.
    say "uninstall: the environment in $app cannot say where Runner's folders are:"
    ask_folders 2>&1 | tail -n 1 | sed 's/^/    /' >&2 || :
    die 'nothing was removed. Run install.sh once more, and then this again'
fi
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

# The user's unit by its place, where Runner itself could not remove it; one of somebody else's stays.
forget_unit() {
    units=${XDG_CONFIG_HOME:-${HOME-}/.config}/systemd/user
    for each in "$units/runner.service" "${HOME-}/Library/LaunchAgents/runner.daemon.plist"; do
        grep -q -s 'Rendered from runner/service/templates' "$each" || continue
        rm -f "$each" "$units/default.target.wants/runner.service"
        say "removed $each; a service that it started runs until you log out, if nothing else ends it"
    done
}

status=0 && runner service --help || status=$?
case $status in 0 | 2) ;; *) die "the command in $app fails; nothing was removed. Run install.sh once more, and then this again" ;; esac
if [ "$status" -eq 0 ]; then # an older Runner had no services
    runner service uninstall --user || forget_unit
    if [ "$(id -u)" -eq 0 ]; then
        runner service uninstall --system || :
    elif runner service status --system; then
        die 'the whole machine has a service that runs this Runner; first: sudo runner service uninstall --system'
    fi
fi
status=0 && runner shutdown || status=$?
case $status in 0 | 1 | 69 | 127) ;; *) die 'the running daemon could not be ended (see: runner shutdown); nothing was removed' ;; esac

# The lines between the installer's marks, where both are there, one after the other: all after a mark without its
# other half may be somebody's.
take_lines_out() {
    marks=$(sed -n -e 's/^# >>> runner >>>$/b/p' -e 's/^# <<< runner <<<$/e/p' "$1" | tr -d '\n')
    [ -n "$marks" ] || return 0
    [ -z "$(printf '%s' "$marks" | sed 's/be//g')" ] || return 1
    part=$1.without-runner
    (umask 077 && sed '/^# >>> runner >>>$/,/^# <<< runner <<<$/d' "$1" >"$part") || { rm -f "$part" && return 1; }
    # Into the same file: it may be a link, and has its owner's mode.
    cat "$part" >"$1" || { say "uninstall: $1 could not be written; $part is what belongs there" && return 0; }
    rm -f "$part"
    [ -s "$1" ] || rm -f "$1"
}

while IFS= read -r line; do
    case $line in
    'edited '*)
        file=${line#edited }
        [ -f "$file" ] || continue
        take_lines_out "$file" || say "Note: lines in $file stay, from '# >>> runner >>>' on; take them out by hand"
        ;;
    *) rm -f "$line" ;;
    esac
done <"$app/installed"

physical() { (CDPATH='' cd -- "$1" 2>/dev/null && pwd -P) || :; }
home=$(physical "${HOME:-/}")

empty() { # remove a folder and those above it, as far as nothing is in them, up to the home or a system's folder
    at=$1
    while :; do
        case $at in / | "${HOME-}" | "$home" | /usr | /usr/local | /usr/local/* | /opt | /var | /tmp) return ;; esac
        rmdir "$at" 2>/dev/null || return 0
        at=$(dirname -- "$at")
    done
}

listed=$(grep -v '^edited ' "$app/installed"; sed -n 's/^edited //p' "$app/installed")
rm -rf "$app"
printf '%s\n' "$listed" | while IFS= read -r line; do empty "$(dirname -- "$line")"; done
empty "$(dirname -- "$app")"

# What stays, one path a line, without links above it.
stays=''
stay() {
    if [ -e "$1" ] || [ -L "$1" ]; then
        above=$(physical "$(dirname -- "$1")")
        stays=$(printf '%s\n%s\n%s' "$stays" "${above%/}/${1##*/}" "$(physical "$1")")
    fi
}
standing() { # standing PATH: "stays" or lies in what does, or has something "below" it that does; else nothing
    printf '%s\n' "$stays" | while IFS= read -r each; do
        [ -n "$each" ] || continue
        case $1 in "$each" | "${each%/}"/*) echo stays ;; esac
        case $each in "$1"/*) echo below ;; esac
    done
}

clear_below() ( # clear_below FOLDER: all in it but what stays, and what is above that
    for item in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ ! -e "$item" ] && [ ! -L "$item" ]; then continue; fi
        case $(standing "$item") in
        *stays*) ;;
        *below*) clear_below "$item" ;;
        *) rm -rf "$item" ;;
        esac
    done
)

clear_out() { # Several of Runner's folders may be one, as they are on a Mac; and one may hold the store.
    case ${1:+$(physical "$1")} in '' | /) return ;; esac
    at=$(physical "$1")
    case $(standing "$at") in *stays*) return ;; esac
    clear_below "$at"
    empty "$1"
}

# What can be made again goes, what is a user's own stays.
if [ "$purge" = yes ]; then
    case $models/ in
    "$data"/*) ;;
    *)
        stay "$models"
        [ ! -e "$models" ] || say "The store in $models is not in Runner's own folder, and stays."
        ;;
    esac
    for each in "$cache" "$runtime" "$data" "$state" "$config"; do clear_out "$each"; done
else
    for each in "$models" "$data/models" "$config/config.yaml" "$config/service.env" "$state/logs"; do stay "$each"; done
    for each in "$cache" "$runtime" "$state"; do clear_out "$each"; done
    for each in "$models" "$config" "$state/logs"; do [ ! -e "$each" ] || say "kept: $each"; done
fi
say 'Runner is removed.'
