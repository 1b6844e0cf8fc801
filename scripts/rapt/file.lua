-- Files written whole: under a temporary name beside the target, synced, renamed. Whoever reads `path` sees
-- the old contents or the new, never a part.

local uv = require "luv"

local file = {}

local function folder_of(path)
  local folder = path:match("^(.*)/[^/]*$")
  if not folder then return "." end
  return folder == "" and "/" or folder
end

--- Makes a folder and those above it. Returns true, or nil and why not.
function file.make_folder(path, mode)
  mode = mode or tonumber("777", 8)
  local stat = uv.fs_stat(path)
  if stat then
    if stat.type == "directory" then return true end
    return nil, path .. ": is no folder"
  end
  local parent = folder_of((path:gsub("/+$", "")))
  if parent ~= path and not uv.fs_stat(parent) then
    local made, why = file.make_folder(parent, mode)
    if not made then return nil, why end
  end
  local made, why, code = uv.fs_mkdir(path, mode)
  if not made and code ~= "EEXIST" then return nil, why end
  return true
end

local function write_all(fd, data)
  local at = 0
  while at < #data do
    local n, why = uv.fs_write(fd, at == 0 and data or data:sub(at + 1), -1)
    if not n then return nil, why end
    at = at + n
  end
  return uv.fs_fsync(fd)
end

-- The mode of the file that is replaced, or what the process's umask leaves of 666.
local function mode_of(path)
  local stat = uv.fs_stat(path)
  if stat then return stat.mode & tonumber("777", 8) end
  local mask = io.open("/proc/self/status")
  local text = mask and mask:read("a") or ""
  if mask then mask:close() end
  return tonumber("666", 8) & ~tonumber(text:match("Umask:%s*(%d+)") or "022", 8)
end

-- A new file beside `path`, open, and its name; or nil and why not.
local function temporary_beside(path)
  local template = ("%s/.%s.XXXXXX"):format(folder_of(path), path:match("[^/]*$"))
  local fd, temporary = uv.fs_mkstemp(template)
  if not fd then return nil, ("%s: %s"):format(path, (temporary:gsub("[: ]+$", ""))) end
  return fd, temporary
end

--- Whether `path` could be written now: true, or nil and why not. For work whose result comes much later.
function file.writable(path)
  local fd, temporary = temporary_beside(path)
  if not fd then return nil, temporary end
  uv.fs_close(fd)
  uv.fs_unlink(temporary)
  local stat = uv.fs_stat(path)
  if stat and stat.type == "directory" then return nil, path .. ": is a folder" end
  return true
end

--- Writes `data` to `path`. Returns true, or nil and why not; then `path` is as it was.
function file.write(path, data)
  local folder = folder_of(path)
  local fd, temporary = temporary_beside(path)
  if not fd then return nil, temporary end
  local done, why = write_all(fd, data)
  if done then done, why = uv.fs_fchmod(fd, mode_of(path)) end
  uv.fs_close(fd)
  if done then done, why = uv.fs_rename(temporary, path) end
  if not done then
    uv.fs_unlink(temporary)
    return nil, ("%s: %s"):format(path, why)
  end
  local dir = uv.fs_open(folder, "r", 0)
  if dir then
    uv.fs_fsync(dir)
    uv.fs_close(dir)
  end
  return true
end

--- The contents of a file, or nil and why not.
function file.read(path)
  local handle, why = io.open(path, "rb")
  if not handle then return nil, why end
  local data, read_error = handle:read("a")
  handle:close()
  if not data then return nil, ("%s: %s"):format(path, read_error) end
  return data
end

return file
