@echo off
rem Starts Darkroom on Windows.  The first start installs what is missing; options go to app.py.
setlocal
title Darkroom
pushd "%~dp0"

rem PyTorch has wheels for these Pythons, and for no 32-bit one.
set "SUPPORTED=import sys; sys.exit(not ((3, 10) <= sys.version_info < (3, 14) and sys.maxsize > 2**32))"

if not exist .venv goto make
rem An interrupted first start leaves a .venv whose pip does not run.
.venv\Scripts\python.exe -c "%SUPPORTED%" >nul 2>nul || goto remake
.venv\Scripts\python.exe -m pip --version >nul 2>nul || goto remake
goto install

:remake
echo The Python environment in .venv is incomplete; recreating it...
:make
set "PYTHON="
for %%V in (3.13 3.12 3.11 3.10) do if not defined PYTHON (
    py -%%V -c "%SUPPORTED%" >nul 2>nul && set "PYTHON=py -%%V"
)
for %%P in (python python3) do if not defined PYTHON (
    %%P -c "%SUPPORTED%" >nul 2>nul && set "PYTHON=%%P"
)
if not defined PYTHON (
    echo Darkroom needs a 64-bit Python 3.10 to 3.13, and none was found. Install Python 3.12 from
    echo https://www.python.org/downloads/windows/ with "Add python.exe to PATH" ticked, and start again.
    goto failed
)
echo Creating a Python environment in "%~dp0.venv"...
%PYTHON% -m venv --clear .venv && goto install
echo Could not create the folder "%~dp0.venv". Is the disk full, or another Darkroom window open?
goto failed

:install
.venv\Scripts\python.exe -m engine.install || goto failed
echo Starting Darkroom...
.venv\Scripts\python.exe app.py %* || goto failed
exit /b 0

:failed
pause
exit /b 1
