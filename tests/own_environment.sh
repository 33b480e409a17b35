# Sourced by the scripts that test a build of their own.

# Makes a virtual environment in a folder, which sees the packages of PYTHON's but not its editable
# vl4pose, and prints its Python. Usage: own_environment PYTHON FOLDER
own_environment() {
  local packages='import sysconfig; print(sysconfig.get_path("purelib"))'
  "$1" -m venv "$2"
  "$1" -c "$packages" > "$("$2/bin/python" -c "$packages")/other.pth"
  echo "$2/bin/python"
}
