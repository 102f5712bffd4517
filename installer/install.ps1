<#
.SYNOPSIS
Installs Runner for this user on Windows, in an environment of its own, or brings an installed one up to date.

.DESCRIPTION
    powershell -ExecutionPolicy Bypass -File installer\install.ps1 [-Backend NAME] [-Source FILE] [-DryRun] [-Yes]
    powershell -ExecutionPolicy Bypass -File installer\install.ps1 -Uninstall [-Purge] [-Yes]

Without -Source it installs the checkout that it lies in. A new version is built aside and checked before it takes
the place of the old one: if anything fails, the old one stays as it is.

.PARAMETER Backend
How llama.cpp is built: auto (what this machine has), cuda, vulkan, native, cpu. What was chosen once stays so.
.PARAMETER Source
A wheel or an sdist to install.
.PARAMETER Wheels
Take every package from this folder, and none from the network.
.PARAMETER NoModifyPath
Leave the user's PATH and PowerShell profile alone; what to add is printed.
.PARAMETER DryRun
Print what would be done, and do nothing.
.PARAMETER Yes
Ask nothing.
.PARAMETER Uninstall
Remove it again; models, config and logs stay.
.PARAMETER Purge
With -Uninstall: remove those as well.
#>
[CmdletBinding()]
param(
    [ValidateSet('', 'auto', 'cuda', 'vulkan', 'native', 'cpu')] [string] $Backend = '',
    [string] $Source = '',
    [string] $Wheels = '',
    [switch] $NoModifyPath,
    [switch] $DryRun,
    [switch] $Yes,
    [switch] $Uninstall,
    [switch] $Purge
)

Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'

$App = Join-Path $env:LOCALAPPDATA 'Programs\Runner'
$Bin = Join-Path $App 'bin'
$Versions = Join-Path $App 'versions'
$Built = Join-Path $App 'built'
$Current = Join-Path $App 'current.txt'
$Log = Join-Path $App 'install.log'
$Portable = '-DGGML_NATIVE=OFF'
$Mark = '# runner: completion'

function Stop-Installing([string] $Message) {
    Write-Host "install: $Message" -ForegroundColor Red
    exit 1
}

# A program's words go to the log; its exit code comes back.
function Invoke-Logged([string] $Program, [string[]] $Arguments) {
    $before = $ErrorActionPreference
    # Windows PowerShell makes an error of each line that a program writes to its standard error.
    $ErrorActionPreference = 'Continue'
    try {
        # Not `*>>`, whose encoding is another one in each PowerShell.
        & $Program @Arguments 2>&1 | ForEach-Object { "$_" } | Add-Content -LiteralPath $Log -Encoding UTF8
        return $LASTEXITCODE
    } finally {
        $ErrorActionPreference = $before
    }
}

function Show-LogEnd {
    Get-Content -LiteralPath $Log -Tail 25 -ErrorAction SilentlyContinue | ForEach-Object { Write-Host "    $_" }
}

function Test-Program([string] $Name) {
    return [bool](Get-Command $Name -CommandType Application -ErrorAction SilentlyContinue)
}

# The Python launcher knows them all; `python` may be the Store's stand-in, which exists and does nothing.
function Find-Python {
    $candidates = @()
    if ($env:PYTHON) {
        $candidates += , @($env:PYTHON)
    } else {
        foreach ($version in '3.13', '3.12', '3.11', '3.14') { $candidates += , @('py', "-$version") }
        $candidates += , @('python')
    }
    foreach ($candidate in $candidates) {
        $program = $candidate[0]
        $rest = @($candidate | Select-Object -Skip 1)
        if (-not (Test-Program $program)) { continue }
        try {
            $path = & $program @rest -I -c 'import sys, venv, ensurepip; print(sys.executable if sys.version_info >= (3, 11) else str())' 2>$null
        } catch {
            continue
        }
        if ($LASTEXITCODE -eq 0 -and $path) { return ([string]$path).Trim() }
    }
    return ''
}

function Find-BuildTools {
    $where = Join-Path ${env:ProgramFiles(x86)} 'Microsoft Visual Studio\Installer\vswhere.exe'
    if (-not (Test-Path -LiteralPath $where)) { return '' }
    $found = & $where -latest -products '*' -requires Microsoft.VisualStudio.Component.VC.Tools.x86.x64 -property installationPath
    return [string]$found
}

function Get-MissingPrerequisite([string] $Python, [bool] $Builds) {
    if (-not $Python) { 'Python 3.11 or newer:      winget install Python.Python.3.12' }
    if ($Builds -and -not (Find-BuildTools)) {
        'Visual Studio Build Tools: winget install Microsoft.VisualStudio.2022.BuildTools --override "--wait --passive --add Microsoft.VisualStudio.Workload.VCTools --includeRecommended"'
    }
    if ($Builds -and -not (Test-Program 'cmake')) { 'CMake:                     winget install Kitware.CMake' }
}

# A choice of a build: its name, why, its CMAKE_ARGS, and what would make a faster one possible.
function New-Choice([string] $Name, [string] $Why, [string] $Flags, [string] $Hint) {
    return @{ Name = $Name; Why = $Why; Flags = $Flags; Hint = $Hint }
}

function Find-Cuda {
    if (-not (Test-Program 'nvidia-smi')) { return New-Choice '' 'there is no nvidia-smi' '' '' }
    $name = [string](& nvidia-smi '--query-gpu=name' '--format=csv,noheader' 2>$null | Select-Object -First 1)
    if (-not $name) { return New-Choice '' 'nvidia-smi names no GPU' '' '' }
    if (-not (Test-Program 'nvcc')) {
        return New-Choice '' "$name is here, but no CUDA toolkit (nvcc)" '' "${name}: winget install Nvidia.CUDA, and run this again, for a build that uses it"
    }
    $flags = "$Portable -DGGML_CUDA=ON"
    # For the GPUs that are here, and not for every one there is: a tenth of the time.
    $found = @(& nvidia-smi '--query-gpu=compute_cap' '--format=csv,noheader' 2>$null |
            ForEach-Object { $_.Trim().Replace('.', '') } | Where-Object { $_ -match '^\d+$' } | Sort-Object -Unique)
    if ($found.Count) { $flags += " -DCMAKE_CUDA_ARCHITECTURES=$($found -join ';')" }
    return New-Choice 'cuda' $name $flags ''
}

function Find-Vulkan {
    if (-not (Test-Program 'vulkaninfo')) { return New-Choice '' 'there is no vulkaninfo' '' '' }
    $name = ''
    foreach ($line in (& vulkaninfo --summary 2>$null)) {
        if ($line -match '^\s*deviceName\s*=\s*(.+?)\s*$' -and $Matches[1] -notmatch 'llvmpipe|swiftshader|lavapipe|Basic Render') {
            $name = $Matches[1]
            break
        }
    }
    if (-not $name) { return New-Choice '' 'vulkaninfo names no GPU' '' '' }
    if (-not (Test-Program 'glslc') -or -not $env:VULKAN_SDK) {
        return New-Choice '' "$name is here, but no Vulkan SDK" '' "${name}: winget install KhronosGroup.VulkanSDK, and run this again, for a build that uses it"
    }
    return New-Choice 'vulkan' $name "$Portable -DGGML_VULKAN=ON" ''
}

function Get-Choice([string] $Wish) {
    $cpu = New-Choice 'cpu' 'the portable build, for any CPU with AVX2' $Portable ''
    switch ($Wish) {
        'cuda' { return Find-Cuda }
        'vulkan' { return Find-Vulkan }
        'native' { return New-Choice 'native' "tuned for this computer's CPU alone" '-DGGML_NATIVE=ON' '' }
        'cpu' { return $cpu }
    }
    foreach ($found in (Find-Cuda), (Find-Vulkan)) {
        if ($found.Name) { return $found }
        if ($found.Hint -and -not $cpu.Hint) { $cpu.Hint = $found.Hint }
    }
    return $cpu
}

function Get-CurrentEnvironment {
    if (-not (Test-Path -LiteralPath $Current)) { return '' }
    $path = Join-Path $Versions (Get-Content -LiteralPath $Current -TotalCount 1)
    if (Test-Path -LiteralPath $path) { return $path }
    return ''
}

function Get-PythonOf([string] $Environment) { return Join-Path $Environment 'Scripts\python.exe' }

function Invoke-Pip([string] $Environment, [string[]] $Arguments) {
    return Invoke-Logged (Get-PythonOf $Environment) (@('-I', '-m', 'pip') + $Arguments)
}

function Get-BuiltFolder([string] $Pin, [hashtable] $Choice) {
    $text = [Text.Encoding]::UTF8.GetBytes("$Pin $($Choice.Flags) $(& $Python -V)")
    $hash = [Security.Cryptography.SHA256]::Create().ComputeHash($text)
    return Join-Path $Built ([BitConverter]::ToString($hash).Replace('-', '').Substring(0, 16))
}

function Get-BuiltWheel([string] $Folder) {
    return [string](Get-ChildItem -Path $Folder -Filter '*.whl' -ErrorAction SilentlyContinue |
            Select-Object -First 1 -ExpandProperty FullName)
}

# pip keeps one wheel per version in its cache, whatever it was built with. What has other flags than the portable
# ones, or takes the place of one that died, goes past that cache in both directions.
function Install-Llama([string] $Environment, [string] $Pin, [hashtable] $Choice, [bool] $Anew) {
    $env:CMAKE_ARGS = $Choice.Flags
    $folder = Get-BuiltFolder $Pin $Choice
    $wheel = Get-BuiltWheel $folder
    if (-not $wheel -and ($Choice.Name -ne 'cpu' -or $Anew)) {
        Write-Host "compiling llama.cpp with $($Choice.Flags) (log: $Log)"
        $part = "$folder.part"
        Remove-Item -LiteralPath $part -Recurse -Force -ErrorAction SilentlyContinue
        New-Item -ItemType Directory -Path $part -Force | Out-Null
        $status = Invoke-Pip $Environment @('wheel', '--no-cache-dir', '--no-binary', 'llama-cpp-python', '--no-deps', '--wheel-dir', $part, $Pin)
        if ($status -ne 0) { return $false }
        Move-Item -LiteralPath $part -Destination $folder
        $wheel = Get-BuiltWheel $folder
    }
    if ($wheel) { return (Invoke-Pip $Environment @('install', '--no-deps', '--force-reinstall', $wheel)) -eq 0 }
    Write-Host "installing llama.cpp; where it was never compiled that takes a while (log: $Log)"
    return (Invoke-Pip $Environment @('install', '--no-deps', $Pin)) -eq 0
}

# Exit codes of Windows' own say that a process died: an illegal instruction is 0xC000001D.
function Test-Died([int] $Status) { return $Status -lt 0 -or $Status -ge 0x40000000 }

function Test-Engine([string] $Environment) {
    Write-Host 'decoding a few tokens with the demo model'
    return Invoke-Logged (Get-PythonOf $Environment) @('-I', '-m', 'runner.engine.probe')
}

function New-Environment([hashtable] $Choice) {
    $name = '{0}-{1}' -f (Get-Date).ToUniversalTime().ToString('yyyyMMddHHmmss'), $PID
    $new = Join-Path $Versions $name
    $script:Making = $new
    Set-Content -LiteralPath $Log -Value (Get-Date).ToString('u') -Encoding UTF8
    if ((Invoke-Logged $Python @('-I', '-m', 'venv', '--clear', $new)) -ne 0) { Show-LogEnd; throw "could not make $new" }
    Write-Host 'installing'
    if ((Invoke-Pip $new @('install', '--no-deps', $Source)) -ne 0) { Show-LogEnd; throw "could not install $Source" }
    $pin = [string](& (Get-PythonOf $new) -I -c 'from importlib import metadata; print(next(each for each in metadata.requires(''runner'') or () if each.startswith(''llama-cpp-python'')))')
    $portable = Get-Choice 'cpu'
    if (-not (Install-Llama $new $pin $Choice $false)) {
        Show-LogEnd
        if ($Choice.Name -eq 'cpu') { throw "llama.cpp could not be built; above is the end of $Log" }
        Write-Host "the build for $($Choice.Name) failed; above is the end of $Log. Going on with the portable build"
        $Choice = $portable
        $script:Wish = 'cpu'
        if (-not (Install-Llama $new $pin $Choice $false)) { Show-LogEnd; throw "the portable build failed too; above is the end of $Log" }
    }
    if ((Invoke-Pip $new @('install', $pin, 'runner')) -ne 0) { Show-LogEnd; throw 'could not install what Runner needs' }
    $status = Test-Engine $new
    if ($status -ne 0) {
        Show-LogEnd
        if (-not (Test-Died $status) -and $Choice.Name -eq 'cpu') { throw 'the probe failed; above is what it said' }
        Write-Host "the probe died with this build of llama.cpp ($($Choice.Name), status $status); going on with the portable build"
        $Choice = $portable
        $script:Wish = 'cpu'
        if (-not (Install-Llama $new $pin $Choice $true)) { Show-LogEnd; throw "the portable build failed; above is the end of $Log" }
        if ((Test-Engine $new) -ne 0) { Show-LogEnd; throw 'the portable build failed the probe too; it needs a CPU with AVX2' }
    }
    Set-Content -LiteralPath (Join-Path $new 'backend') -Value @($script:Wish, $Choice.Flags)
    $script:Backend_ = $Choice.Name
    return $new
}

function Invoke-OldRunner([string] $Environment, [string[]] $Arguments) {
    if (-not $Environment) { return 1 }
    return Invoke-Logged (Get-PythonOf $Environment) (@('-I', '-m', 'runner') + $Arguments)
}

# What another run left behind that was killed, and what was replaced.
function Clear-Leftover {
    $kept = Get-CurrentEnvironment
    Get-ChildItem -Path $Versions -Directory -ErrorAction SilentlyContinue |
        Where-Object { $_.FullName -ne $kept } |
        ForEach-Object { Remove-Item -LiteralPath $_.FullName -Recurse -Force -ErrorAction SilentlyContinue }
    Get-ChildItem -Path $Built -Filter '*.part' -Directory -ErrorAction SilentlyContinue |
        ForEach-Object { Remove-Item -LiteralPath $_.FullName -Recurse -Force -ErrorAction SilentlyContinue }
}

# Windows lets only some users make links, so a file says which environment is in use, and is replaced in one step.
function Switch-Environment([string] $New) {
    $aside = "$Current.part"
    [IO.File]::WriteAllText($aside, (Split-Path -Leaf $New))
    Move-Item -LiteralPath $aside -Destination $Current -Force
}

function Write-Launcher {
    New-Item -ItemType Directory -Path $Bin -Force | Out-Null
    $lines = @(
        '@echo off'
        'rem Runner''s command, put here by its installer.'
        'setlocal'
        'set /p RUNNER_ENVIRONMENT_=<"%~dp0..\current.txt"'
        '"%~dp0..\versions\%RUNNER_ENVIRONMENT_%\Scripts\python.exe" -I -m runner %*'
    )
    $aside = Join-Path $Bin 'runner.cmd.part'
    [IO.File]::WriteAllLines($aside, $lines)
    Move-Item -LiteralPath $aside -Destination (Join-Path $Bin 'runner.cmd') -Force
}

# How a file of text is written: as its first bytes say, else as this PowerShell reads one that doesn't say it.
function Get-EncodingOf([string] $Path) {
    $reader = [IO.StreamReader]::new($Path, [Text.Encoding]::Default, $true)
    try {
        [void]$reader.Peek()
        return $reader.CurrentEncoding
    } finally {
        $reader.Dispose()
    }
}

# What is there is not written anew.
function Add-LineTo([string] $Path, [string] $Line) {
    $encoding = [Text.Encoding]::Default
    $added = $Line + [Environment]::NewLine
    if (Test-Path -LiteralPath $Path) {
        $encoding = Get-EncodingOf $Path
        $text = [IO.File]::ReadAllText($Path, $encoding)
        if ($text -and $text -notmatch '\n\z') { $added = [Environment]::NewLine + $added }
    }
    $bytes = $encoding.GetBytes($added)
    $file = [IO.File]::Open($Path, 'Append', 'Write')
    try {
        $file.Write($bytes, 0, $bytes.Length)
    } finally {
        $file.Dispose()
    }
}

# All other bytes stay what they are.
function Remove-MarkedLine([string] $Path) {
    $encoding = Get-EncodingOf $Path
    # Latin-1 has a character for every byte, so that what isn't UTF-16 or UTF-32 needn't be known.
    if ($encoding.CodePage -notin 1200, 1201, 12000, 12001) { $encoding = [Text.Encoding]::GetEncoding(28591) }
    $text = $encoding.GetString([IO.File]::ReadAllBytes($Path))
    # The first line may begin with a byte order mark, which is the file's.
    $pattern = '(?m)^(\uFEFF|\u00EF\u00BB\u00BF)?[^\r\n]*' + [regex]::Escape($Mark) + '[^\r\n]*(?:\r?\n|\z)'
    $kept = [regex]::Replace($text, $pattern, '$1')
    if ($kept.Length -eq $text.Length) { return }
    if ($kept -notmatch '[^\uFEFF\u00EF\u00BB\u00BF]') {
        Remove-Item -LiteralPath $Path
        return
    }
    $bytes = $encoding.GetBytes($kept)
    # Aside first: where the disk is full, this fails before anything is lost.
    $aside = "$Path.without-runner"
    [IO.File]::WriteAllBytes($aside, $bytes)
    [IO.File]::WriteAllBytes($Path, $bytes)
    Remove-Item -LiteralPath $aside
}

function Write-Completion([string] $Environment) {
    $file = Join-Path $App 'completion.ps1'
    $script = & (Get-PythonOf $Environment) -I -m runner generate completion powershell
    if ($LASTEXITCODE -eq 0) { [IO.File]::WriteAllLines($file, [string[]]$script) }
    $line = ". '$($file.Replace("'", "''"))' $Mark"
    if ($NoModifyPath) {
        Write-Host "For completion, add this to ${PROFILE}:`n    $line"
        return
    }
    $known = Select-String -LiteralPath $PROFILE -SimpleMatch $Mark -Quiet -ErrorAction SilentlyContinue
    if (-not $known) {
        New-Item -ItemType Directory -Path (Split-Path -Parent $PROFILE) -Force | Out-Null
        Add-LineTo $PROFILE $line
    }
}

function Get-UserPath {
    # As it is written there, with its %VARIABLES% left as they are.
    $key = Get-Item -LiteralPath 'HKCU:\Environment'
    return [string]$key.GetValue('Path', '', 'DoNotExpandEnvironmentNames')
}

function Set-UserPath([string] $Value) {
    Set-ItemProperty -LiteralPath 'HKCU:\Environment' -Name 'Path' -Value $Value -Type ExpandString
    # Setting and removing any variable this way tells running programs that PATH has changed.
    [Environment]::SetEnvironmentVariable('RUNNER_INSTALLER_', 'x', 'User')
    [Environment]::SetEnvironmentVariable('RUNNER_INSTALLER_', $null, 'User')
}

function Add-ToPath {
    $parts = @((Get-UserPath) -split ';' | Where-Object { $_ })
    if ($parts -contains $Bin) { return }
    if ($NoModifyPath) {
        Write-Host "Add this folder to your PATH: $Bin"
        return
    }
    Set-UserPath ((@($parts) + $Bin) -join ';')
    Write-Host "added $Bin to your PATH; a new terminal knows it"
}

function Confirm-Going([string] $Question, [bool] $ByDefault) {
    if ($Yes) { return $true }
    $shown = if ($ByDefault) { '[Y/n]' } else { '[y/N]' }
    $answer = Read-Host "$Question $shown"
    if (-not $answer) { return $ByDefault }
    return $answer -match '^[Yy]'
}

function Uninstall-Runner {
    if (-not (Test-Path -LiteralPath $App)) { Stop-Installing "there is no Runner in $App" }
    $environment = Get-CurrentEnvironment
    $folders = @()
    if ($environment) {
        try {
            $folders = @(& (Get-PythonOf $environment) -I -c 'from runner.config import folders, load_usable; w = folders(); print(w.data, w.state, w.cache, w.config, w.runtime, load_usable()[0].models, sep=chr(10))')
        } catch {
            Write-Host "    $_"
        }
    }
    # Without it neither the daemon nor the task can be ended in order, and nobody knows where the models are.
    if ((Test-Path -LiteralPath $Current) -and $folders.Count -ne 6) {
        Stop-Installing "the environment in $App cannot say where Runner's folders are; nothing was removed. Install once more, and then repeat this"
    }
    Write-Host "Remove Runner: $App"
    if ($Purge) { $folders | Select-Object -First 5 | Select-Object -Unique | ForEach-Object { Write-Host "  $_, with all that is in it" } }
    if ($DryRun) { return }
    $question = if ($Purge) { 'Models, config and logs are removed too. Is that meant?' } else { 'Remove it? Models, config and logs stay.' }
    if (-not (Confirm-Going $question $false)) { Write-Host 'Nothing was done.'; exit 1 }
    if ((Invoke-OldRunner $environment @('service', '--help')) -eq 0) { [void](Invoke-OldRunner $environment @('service', 'uninstall')) }
    [void](Invoke-OldRunner $environment @('shutdown'))
    $parts = @((Get-UserPath) -split ';' | Where-Object { $_ -and $_ -ne $Bin })
    Set-UserPath ($parts -join ';')
    if (Test-Path -LiteralPath $PROFILE) { Remove-MarkedLine $PROFILE }
    Remove-Item -LiteralPath $App -Recurse -Force
    if ($folders.Count -eq 6) {
        $data, $state, $cache, $config, $runtime, $models = $folders
        # On Windows several of these are one folder, so what stays is named and what goes is all else in them.
        $stays = @()
        # A store elsewhere is never removed, nor out of another of these folders.
        if (-not $Purge -or -not (Test-Below $models $data)) { $stays += $models }
        if (-not $Purge) {
            $stays += (Join-Path $data 'models'), (Join-Path $config 'config.yaml'), (Join-Path $config 'service.env'), (Join-Path $state 'logs')
        }
        $stays = @($stays | Select-Object -Unique)
        foreach ($folder in ($data, $state, $cache, $config, $runtime | Select-Object -Unique)) {
            Remove-AllBut $folder $stays
        }
        $stays | Where-Object { Test-Path -LiteralPath $_ } | ForEach-Object { Write-Host "kept: $_" }
    }
    Write-Host 'Runner is removed.'
}

function Test-Below([string] $Path, [string] $Folder) {
    return $Path -eq $Folder -or $Path.StartsWith("$Folder\", [StringComparison]::OrdinalIgnoreCase)
}

# Empties a folder but for what `Stays` names, and removes it, and what it leaves of the folder above, when empty.
function Remove-AllBut([string] $Folder, [string[]] $Stays) {
    if (-not (Test-Path -LiteralPath $Folder)) { return }
    if (@($Stays | Where-Object { Test-Below $Folder $_ }).Count) { return }
    foreach ($item in Get-ChildItem -LiteralPath $Folder -Force) {
        $above = @($Stays | Where-Object { Test-Below $_ $item.FullName })
        if (-not $above.Count) {
            Remove-Item -LiteralPath $item.FullName -Recurse -Force -ErrorAction SilentlyContinue
        } elseif ($above -notcontains $item.FullName) {
            Remove-AllBut $item.FullName $Stays
        }
    }
    if (-not (Get-ChildItem -LiteralPath $Folder -Force)) { Remove-Item -LiteralPath $Folder -Force }
}

if ($Purge -and -not $Uninstall) { Stop-Installing '-Purge goes with -Uninstall' }
if ($Uninstall) {
    Uninstall-Runner
    exit 0
}

if ($Source) {
    if (-not (Test-Path -LiteralPath $Source -PathType Leaf)) { Stop-Installing "there is no file $Source" }
    $Source = (Resolve-Path -LiteralPath $Source).ProviderPath
} else {
    $Source = Split-Path -Parent $PSScriptRoot
    if (-not (Test-Path -LiteralPath (Join-Path $Source 'pyproject.toml'))) { Stop-Installing "$Source is no checkout of Runner; name a wheel or an sdist with -Source" }
}
if ($Wheels) {
    if (-not (Test-Path -LiteralPath $Wheels -PathType Container)) { Stop-Installing "there is no folder $Wheels" }
    $env:PIP_NO_INDEX = '1'
    $env:PIP_FIND_LINKS = (Resolve-Path -LiteralPath $Wheels).ProviderPath
}
# Another environment's variables must not reach into this one.
foreach ($name in 'VIRTUAL_ENV', 'PYTHONHOME', 'PYTHONPATH', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_REQUIRE_VIRTUALENV', 'SOURCE_DATE_EPOCH') {
    Remove-Item -LiteralPath "Env:$name" -ErrorAction SilentlyContinue
}
$env:PIP_USER = '0'
$env:PIP_DISABLE_PIP_VERSION_CHECK = '1'

$old = Get-CurrentEnvironment
$Wish = $Backend
if (-not $Wish) {
    $Wish = 'auto'
    if ($old -and (Test-Path -LiteralPath (Join-Path $old 'backend'))) { $Wish = Get-Content -LiteralPath (Join-Path $old 'backend') -TotalCount 1 }
}
$choice = Get-Choice $Wish
if (-not $choice.Name) { Stop-Installing "-Backend ${Wish}: $($choice.Why)" }
$Python = Find-Python
$hasWheel = $Wheels -and (Get-ChildItem -Path $Wheels -Filter 'llama_cpp_python-*.whl')
$builds = -not ($hasWheel -and $choice.Name -eq 'cpu')
$missing = @(Get-MissingPrerequisite $Python $builds)
if ($missing.Count) {
    Write-Host 'missing:'
    $missing | ForEach-Object { Write-Host "    $_" }
    Write-Host 'Install these, open a new terminal, and run this again.'
    exit 1
}

Write-Host $(if ($old) { 'Upgrade Runner' } else { 'Install Runner' })
Write-Host "  from        $Source"
Write-Host "  into        $App"
Write-Host "  command     $(Join-Path $Bin 'runner.cmd')"
Write-Host "  Python      $Python"
Write-Host "  llama.cpp   $($choice.Name): $($choice.Why)"
if ($choice.Hint) { Write-Host "              ($($choice.Hint))" }
if ($DryRun) { exit 0 }
if (-not (Confirm-Going 'Go on?' $true)) { Write-Host 'Nothing was done.'; exit 1 }

New-Item -ItemType Directory -Path $Versions, $Built -Force | Out-Null
# Held until this process ends, however that is.
try {
    $lock = [IO.File]::Open((Join-Path $App 'lock'), 'OpenOrCreate', 'ReadWrite', 'None')
} catch [IO.IOException] {
    Stop-Installing 'another installation is under way here; wait for it'
}
Clear-Leftover
$Making = ''
$Backend_ = ''
try {
    $new = New-Environment $choice
    $version = & (Get-PythonOf $new) -I -m runner --version
    if ($LASTEXITCODE -ne 0) { throw 'the new environment does not run' }
    # A daemon must not find its code changed under it, and Windows keeps files that are in use.
    $serves = (Invoke-OldRunner $old @('service', 'status')) -eq 0
    if ($serves) { [void](Invoke-OldRunner $old @('service', 'stop')) }
    if ((Invoke-OldRunner $old @('shutdown')) -eq 0) { Write-Host 'the running daemon has ended; the next command starts the new one' }
    Switch-Environment $new
    $Making = ''
    Write-Launcher
    Write-Completion $new
    Clear-Leftover
    if ($serves) { [void](Invoke-OldRunner $new @('service', 'start')) }
} catch {
    Write-Host "install: $_; nothing was changed" -ForegroundColor Red
    exit 1
} finally {
    # Also after Ctrl-C.
    if ($Making) { Remove-Item -LiteralPath $Making -Recurse -Force -ErrorAction SilentlyContinue }
    $lock.Dispose()
}
Add-ToPath
Write-Host "Installed: $version, with the $Backend_ build of llama.cpp."
Write-Host 'Try: runner run demo "How do I pull a model?"'
