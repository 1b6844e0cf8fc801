-- Runs the `rapt` program of the build for the specs; RAPT_BIN says where it is.

local helper = {}

helper.binary = os.getenv("RAPT_BIN") or "rapt"
helper.source = os.getenv("RAPT_SOURCE") or "../.."

local function read(path)
  local handle = assert(io.open(path, "rb"))
  local text = handle:read("a")
  handle:close()
  os.remove(path)
  return text
end

--- A fresh folder.
function helper.folder()
  local handle = io.popen("mktemp -d")
  local path = handle:read("l")
  handle:close()
  return path
end

--- Runs `rapt` with a line of shell arguments. options: stdin (text), env ("A=b C=d"), limit (seconds, 60).
--- Returns the exit status, standard output and standard error.
function helper.rapt(arguments, options)
  options = options or {}
  local out, err, input = os.tmpname(), os.tmpname(), os.tmpname()
  local handle = assert(io.open(input, "wb"))
  handle:write(options.stdin or "")
  handle:close()
  local command = ("env %s timeout %d '%s' %s <'%s' >'%s' 2>'%s'"):format(options.env or "",
    options.limit or 60, helper.binary, arguments, input, out, err)
  local _, _, status = os.execute(command)
  os.remove(input)
  return status, read(out), read(err)
end

return helper
