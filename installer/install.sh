#!/bin/sh
# Installs Runner for this user, in an environment of its own, or brings an installed one up to date:
#
#     ./installer/install.sh [OPTION]... [WHEEL or SDIST]
#
# Without a file it installs the checkout that it lies in.
#
#   --backend NAME   how llama.cpp is built: auto (what this machine has), cuda, metal, vulkan, rocm, native, cpu,
#                    or custom (by CMAKE_ARGS, which chooses it too); what was chosen once stays so
#   --prefix DIR     install under DIR: DIR/lib/runner, DIR/bin, DIR/share
#   --system         for all users: /opt/runner, /usr/local/bin, /usr/local/share (as root)
#   --modify-path    add the command's folder to PATH in the shell's start file; without it you are told what to add
#   --wheels DIR     take every package from DIR, and none from the network
#   --dry-run        print what would be done, and do nothing
#   --yes            ask nothing
#   --uninstall      remove it again; models, config and logs stay
#   --purge          with --uninstall: remove those as well
#   --help           print this
#
# PYTHON=python3.12 picks another interpreter. A new version is built aside and checked before it takes the place of
# the old one: if anything fails, or is interrupted, the old one stays as it is.
set -eu

say() { printf '%s\n' "$*" >&2; }
die() { say "install: $*" && exit 1; }
usage() { sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"; }
wrong() { say "install: $* (--help tells what there is)" && exit 2; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source=installer/prerequisites.sh
. "$here/prerequisites.sh"
# shellcheck source=installer/backend.sh
. "$here/backend.sh"
# shellcheck source=installer/shells.sh
. "$here/shells.sh"

# Another environment's variables, or a user-wide pip setting, must not reach into this one.
unset VIRTUAL_ENV VIRTUAL_ENV_PROMPT PYTHONHOME PYTHONPATH __PYVENV_LAUNCHER__
unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

read_options() {
    wish='' prefix='' system=no modifies=no wheels='' dry=no yes=no removes=no purge=no source=''
    while [ $# -gt 0 ]; do
        option=$1 && shift
        case $option in
        --backend=* | --prefix=* | --wheels=*) set -- "${option#*=}" "$@" && option=${option%%=*} ;;
        --backend | --prefix | --wheels) [ $# -gt 0 ] || wrong "$option needs a value" ;;
        esac
        case $option in
        --backend) wish=$1 && shift ;;
        --prefix) prefix=$1 && shift ;;
        --wheels) wheels=$1 && shift ;;
        --system) system=yes ;;
        --modify-path) modifies=yes ;;
        --dry-run) dry=yes ;;
        --yes | -y) yes=yes ;;
        --uninstall) removes=yes ;;
        --purge) purge=yes ;;
        -h | --help) usage && exit 0 ;;
        -*) wrong "there is no option $option" ;;
        *) [ -z "$source" ] || wrong 'one file at most' && source=$option ;;
        esac
    done
    [ "$purge" = no ] || [ "$removes" = yes ] || wrong '--purge goes with --uninstall'
    [ -z "$prefix" ] || [ "$system" = no ] || wrong 'give --prefix or --system'
}

absolute() { case $1 in /*) printf '%s' "$1" ;; *) printf '%s/%s' "$PWD" "$1" ;; esac; }

# app: the environments. bin: the command. share: what shells look for.
choose_places() {
    if [ "$system" = yes ]; then
        app=/opt/runner bin=/usr/local/bin share=/usr/local/share
    elif [ -n "$prefix" ]; then
        prefix=$(absolute "$prefix")
        app=$prefix/lib/runner bin=$prefix/bin share=$prefix/share
    else
        [ -n "${HOME-}" ] || die 'HOME is not set; --prefix DIR says where to install'
        case ${XDG_DATA_HOME-} in /*) share=$XDG_DATA_HOME ;; *) share=$HOME/.local/share ;; esac
        case ${XDG_BIN_HOME-} in /*) bin=$XDG_BIN_HOME ;; *) bin=$HOME/.local/bin ;; esac
        app=$share/runner/app
    fi
    log=$app/install.log
}

# What was asked for the last time holds until something else is.
choose_wish() {
    [ -z "$wish" ] || return 0
    wish=auto
    if [ -n "${CMAKE_ARGS-}" ]; then
        wish=custom
    elif [ -f "$app/current/backend" ]; then
        wish=$(sed -n 1p "$app/current/backend")
        [ "$wish" != custom ] || CMAKE_ARGS=$(sed -n 2p "$app/current/backend")
    fi
}

choose_source() {
    if [ -n "$source" ]; then
        source=$(absolute "$source")
        [ -f "$source" ] || die "there is no file $source"
    else
        source=$(dirname -- "$here")
        [ -f "$source/pyproject.toml" ] || die "$source is no checkout of Runner; name a wheel or an sdist"
    fi
    if [ -n "$wheels" ]; then
        wheels=$(absolute "$wheels")
        [ -d "$wheels" ] || die "there is no folder $wheels"
    fi
}

has_llama_wheel() { [ -n "$wheels" ] && [ -n "$(find "$wheels" -name 'llama_cpp_python-*.whl' | head -n 1)" ]; }

# A wheel of somebody's is taken as it is, unless another build is wished for.
builds() { if has_llama_wheel && [ "$backend" = cpu ]; then echo no; else echo yes; fi; }

show_plan() {
    done_to='Install'
    [ ! -e "$app/current" ] || done_to='Upgrade'
    say "$done_to Runner"
    say "  from        $source"
    say "  into        $app"
    say "  command     $bin/runner"
    say "  completion  bash, zsh and fish, in $share"
    say "  Python      $("$python" -V 2>&1) ($python)"
    say "  llama.cpp   $backend: $why"
    [ -z "$hint" ] || say "              ($hint)"
    [ "$(builds)" = no ] || say '              compiled unless it was before: minutes, on two cores about five'
}

agreed() {
    if [ "$yes" = yes ] || [ ! -t 0 ]; then return; fi
    printf 'Go on? [Y/n] ' >&2
    read -r answer || answer=n
    case $answer in '' | [Yy]*) ;; *) say 'Nothing was done.' && exit 1 ;; esac
}

# Kept by the kernel until its last holder ends, however that is. Python takes it: macOS has no flock(1).
take_lock() {
    exec 9>"$app/lock"
    "$python" -I -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null ||
        die 'another installation is under way here; wait for it'
}

# What another run left behind that was killed, and what it replaced. Only where no installer is at work.
sweep() {
    [ -d "$app/versions" ] || return 0
    now=$(readlink "$app/current" 2>/dev/null || :)
    for each in "$app/versions"/*; do
        [ "$each" = "$app/${now:-none}" ] || rm -rf "$each"
    done
    rm -rf "$app"/built/*.part
}

show_log_end() { tail -n 25 "$log" | sed 's/^/    /' >&2; }

# Where SOURCE_DATE_EPOCH is set, llama.cpp turns even AVX2 off.
pip() {
    (
        unset SOURCE_DATE_EPOCH
        [ -z "$wheels" ] || export PIP_NO_INDEX=1 PIP_FIND_LINKS="$wheels"
        cd / && exec "$new/bin/python" -I -m pip "$@"
    ) >>"$log" 2>&1 9>&-
}

# pip keeps one wheel per version in its cache, whatever it was built with. What is built here with other flags, or
# because the cached one died, goes past that cache in both directions, into a folder named by its flags.
built_folder() { printf '%s/built/%s' "$app" "$(printf '%s %s %s' "$pin" "$flags" "$("$python" -V 2>&1)" | cksum | tr ' ' -)"; }
built_wheel() { find "$(built_folder)" -name '*.whl' 2>/dev/null | head -n 1; }

build_llama() {
    folder=$(built_folder)
    [ -z "$(built_wheel)" ] || return 0
    say "compiling llama.cpp with $flags (log: $log)"
    rm -rf "$folder.part"
    mkdir -p "$folder.part"
    pip wheel --no-cache-dir --no-binary llama-cpp-python --no-deps --wheel-dir "$folder.part" "$pin" || return 1
    mv "$folder.part" "$folder"
}

# put_llama_in [anew]: from what was built here, or by pip as it likes where the portable build is asked for.
put_llama_in() {
    export CMAKE_ARGS="$flags"
    if [ "$backend" != cpu ] || [ "${1-}" = anew ]; then build_llama || return 1; fi
    if [ -n "$(built_wheel)" ]; then
        pip install --no-deps --force-reinstall "$(built_wheel)"
    else
        [ "$(builds)" = no ] || say "installing llama.cpp; where it was never compiled that takes about five minutes (log: $log)"
        pip install --no-deps "$pin"
    fi
}

fall_back() { # fall_back anew
    say 'going on with the portable build'
    wish=cpu # the next upgrade needn't find out again
    try_cpu
    put_llama_in "$1" || { show_log_end && die "the portable build failed too; above is the end of $log"; }
}

# With a limit, because a broken driver hangs rather than fails; a signal's number comes back as shells count it.
decode() {
    "$python" -I -c '
import subprocess, sys
try:
    status = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL, timeout=300)
except subprocess.TimeoutExpired:
    sys.exit("it did not end within five minutes")
sys.exit(status if status >= 0 else 128 - status)' \
        "$new/bin/python" -I -m runner.engine.probe >"$app/probe.log" 2>&1 9>&-
}

probe() {
    say 'decoding a few tokens with the demo model'
    status=0 && decode || status=$?
    [ "$status" -ne 0 ] || return 0
    if [ "$status" -gt 128 ]; then
        say "the probe died of signal $((status - 128)): this build of llama.cpp ($backend) does not suit this machine"
    else
        sed 's/^/    /' "$app/probe.log" >&2
        say "the probe failed with this build of llama.cpp ($backend)"
        # Not the build's fault, then: a new one would fail the same way.
        [ "$backend" != cpu ] || die "nothing was changed; what it said is in $app/probe.log"
    fi
    fall_back anew
    status=0 && decode || status=$?
    [ "$status" -ne 0 ] || return 0
    sed 's/^/    /' "$app/probe.log" >&2
    [ "$status" -le 128 ] || die "the portable build died too, of signal $((status - 128)); it needs a CPU with AVX2"
    die "the portable build failed the probe too; what it said is in $app/probe.log"
}

make_environment() {
    new=$app/versions/$(date -u +%Y%m%d%H%M%S)-$$
    : >"$log"
    making=$new
    "$python" -I -m venv --clear "$new" >>"$log" 2>&1 || { show_log_end && die "could not make $new"; }
    say 'installing'
    pip install --no-deps "$source" || { show_log_end && die "could not install $source; above is the end of $log"; }
    pin=$("$new/bin/python" -I -c '
from importlib import metadata
print(next(each for each in metadata.requires("runner") or () if each.startswith("llama-cpp-python")))')
    if ! put_llama_in; then
        show_log_end
        [ "$backend" != cpu ] || die "llama.cpp could not be built; above is the end of $log"
        say "the build for $backend failed; above is the end of $log"
        fall_back ''
    fi
    pip install "$pin" runner || { show_log_end && die "could not install what Runner needs; above is the end of $log"; }
    probe
    printf '%s\n' "$wish" "$flags" >"$new/backend"
    version=$("$new/bin/python" -I -m runner --version) || die 'the new environment does not run; nothing was changed'
}

# The runner of the environment in use: the old one, and after the switch the new one.
# By the installed Runner; the first time by the one that is about to be: a checkout's daemon may be running.
current_runner() {
    by=$app/current
    [ -x "$by/bin/python" ] || by=$new
    "$by/bin/python" -I -m runner "$@" >/dev/null 2>&1 9>&-
}

# A daemon must not find its code changed under it. A service is started again, anything else by the next command.
end_daemon() {
    serves=no scope=--user
    [ "$system" = no ] || scope=--system
    if current_runner service status "$scope"; then
        serves=yes
        current_runner service stop "$scope" || :
    fi
    ended=0 && current_runner shutdown || ended=$?
    lingers=no
    case $ended in
    0) say 'the running daemon has ended; the next command starts the new one' ;;
    1 | 69) ;; # no daemon runs
    *) lingers=yes && say "Note: the running daemon could not be ended; it goes on as it is until you type: runner shutdown" ;;
    esac
}

start_service() {
    if current_runner service start "$scope"; then
        say 'the service was started again'
    else
        say "Note: the service does not start; see: runner service status $scope"
    fi
}

switch() {
    end_daemon
    "$python" -I -c '
import os, sys
target, link = sys.argv[1:]
aside = link + ".new"
if os.path.lexists(aside):
    os.unlink(aside)
os.symlink(target, aside)
os.replace(aside, link)' "versions/${new##*/}" "$app/current"
    making=''
    [ "$lingers" = yes ] || sweep # else the next run does
    for each in "$app"/built/*; do
        [ "$each" = "$(built_folder)" ] || rm -rf "$each"
    done
    [ "$serves" = no ] || start_service
}

# put FILE PLACE: copied aside and renamed, so that nobody ever reads half of it; listed for the uninstaller.
put() {
    mkdir -p "$(dirname -- "$2")"
    cp "$1" "$2.part"
    chmod "$3" "$2.part"
    mv -f "$2.part" "$2"
    printf '%s\n' "$2" >>"$app/installed.part"
}

# From the wheel that was installed, so that they are of the same version.
put_completions() {
    for pair in bash:bash-completion/completions/runner zsh:zsh/site-functions/_runner \
        fish:fish/vendor_completions.d/runner.fish; do
        if "$new/bin/python" -I -m runner generate completion "${pair%%:*}" >"$app/completion.part" 2>>"$log"; then
            put "$app/completion.part" "$share/${pair#*:}" 644
        fi
    done
    rm -f "$app/completion.part"
}

put_files() {
    : >"$app/installed.part"
    {
        echo '#!/bin/sh'
        echo "# Runner's command, put here by its installer. To remove it: sh $(quoted "$app/uninstall.sh")"
        echo "exec $(quoted "$app/current/bin/python") -I -m runner \"\$@\""
    } >"$app/launcher.part"
    put "$app/launcher.part" "$bin/runner" 755
    rm -f "$app/launcher.part"
    put_completions
    if [ -f "$app/installed" ]; then grep '^edited ' "$app/installed" >>"$app/installed.part" || :; fi
    cp "$here/uninstall.sh" "$app/uninstall.sh.part"
    mv -f "$app/uninstall.sh.part" "$app/uninstall.sh"
    mv -f "$app/installed.part" "$app/installed"
}

check_command() {
    if [ -e "$bin/runner" ] && ! grep -q -s 'put here by its installer' "$bin/runner"; then
        die "$bin/runner is another program; move it away, or install elsewhere with --prefix DIR"
    fi
}

main() {
    SHELL=${SHELL-sh} HOME=${HOME-}
    read_options "$@"
    choose_places
    if [ "$removes" = yes ]; then
        set -- "$app"
        [ "$purge" = no ] || set -- "$@" --purge
        [ "$yes" = no ] || set -- "$@" --yes
        [ "$dry" = no ] || set -- "$@" --dry-run
        exec sh "$here/uninstall.sh" "$@"
    fi
    choose_source
    choose_wish
    choose_backend "$wish" || die "--backend $wish: $why"
    check_prerequisites "$(builds)" || { say_what_is_missing && exit 1; }
    show_plan
    [ "$dry" = no ] || exit 0
    check_command
    agreed
    mkdir -p "$app/versions" "$app/built" || die "$app cannot be written"
    take_lock
    sweep
    making=''
    trap '[ -z "$making" ] || rm -rf "$making"; rm -f "$app"/*.part' EXIT
    trap 'say "interrupted; nothing was changed" && exit 129' HUP
    trap 'say "interrupted; nothing was changed" && exit 130' INT
    trap 'say "interrupted; nothing was changed" && exit 143' TERM
    make_environment
    trap '' HUP INT TERM # from here on it is a matter of moments, and none that should be cut short
    switch
    put_files
    say "Installed: $version, with the $backend build of llama.cpp."
    tell_path
    say 'Try: runner run demo "How do I pull a model?"'
}

# On one line, which is read before it runs: should this file change meanwhile, nothing of it is read any more.
main "$@"; exit
