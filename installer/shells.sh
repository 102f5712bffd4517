# shellcheck shell=sh
# shellcheck disable=SC2154  # share, bin, app and modifies are the installer's
# What a user's shell has to know: where the command is, and completion. Sourced by install.sh; edits a start file
# only where --modify-path says so.

quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

start_file() {
    case ${SHELL##*/} in
    zsh) echo "${ZDOTDIR:-$HOME}/.zshrc" ;;
    bash) echo "$HOME/.bashrc" ;;
    fish) echo "${XDG_CONFIG_HOME:-$HOME/.config}/fish/conf.d/runner.fish" ;;
    *) echo "$HOME/.profile" ;;
    esac
}

path_lines() {
    case ${SHELL##*/} in
    fish) echo "contains -- $(quoted "$bin") \$PATH; or set -gx PATH $(quoted "$bin") \$PATH" ;;
    zsh)
        echo "path=($(quoted "$bin") \$path)"
        echo "fpath=($(quoted "$share/zsh/site-functions") \$fpath)"
        echo "if (( \$+functions[compdef] )); then source $(quoted "$share/zsh/site-functions/_runner"); fi"
        ;;
    bash)
        echo "export PATH=$(quoted "$bin"):\"\$PATH\""
        # The package bash-completion, where it is there, finds the script by itself.
        echo "[ -n \"\${BASH_COMPLETION_VERSINFO-}\" ] || . $(quoted "$share/bash-completion/completions/runner")"
        ;;
    *) echo "export PATH=$(quoted "$bin"):\"\$PATH\"" ;;
    esac
}

tell_path() {
    case :$PATH: in
    *:"$bin":*)
        first=$(command -v runner || :)
        [ "$first" = "$bin/runner" ] || say "Note: another runner comes first on your PATH: $first"
        [ "${SHELL##*/}" = zsh ] || return 0
        ;;
    esac
    file=$(start_file)
    if grep -q -s '^# >>> runner >>>$' "$file"; then return; fi
    if [ "$modifies" = yes ]; then
        mkdir -p "$(dirname -- "$file")"
        # Onto a line of its own, where the last one of the file isn't ended.
        [ -z "$(tail -c 1 "$file" 2>/dev/null)" ] || echo >>"$file"
        { echo '# >>> runner >>>' && path_lines && echo '# <<< runner <<<'; } >>"$file"
        printf 'edited %s\n' "$file" >>"$app/installed"
        say "added to $file; a new terminal knows it"
    else
        say "Add this to $file (--modify-path does it for you):"
        path_lines | sed 's/^/    /' >&2
    fi
}
