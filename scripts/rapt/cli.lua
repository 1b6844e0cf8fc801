-- The command line of `rapt`. main(arg) returns the exit status: 0 success, 1 failure, 2 wrong usage.
-- Nothing is required before it is needed: `rapt list` must start in milliseconds.

local cli = {}

local OK, FAILURE, USAGE = 0, 1, 2

-- The module's own messages name it already.
local function say(...)
  local text = table.concat({ ... }):gsub("^rapt: ", "")
  io.stdout:flush()
  io.stderr:write("rapt: ", text, "\n")
end

-- A table as one line of JSON.
local function write_json(value)
  local cjson = require("cjson").new()
  cjson.encode_invalid_numbers("null")
  io.stdout:write(cjson.encode(value), "\n")
end

-- --- Running Lua -----------------------------------------------------------------------------

-- A traceback without the frames of the program that runs the script.
local function traceback(message)
  if type(message) ~= "string" then
    local meta = debug.getmetatable(message)
    message = type(meta) == "table" and meta.__tostring and tostring(message)
      or ("an error of type " .. type(message))
  end
  local lines = {}
  for line in debug.traceback("", 3):gmatch("[^\n]+") do
    if line:find("rapt/cli.lua", 1, true) then break end
    local start = line:find("^stack traceback:") or line:find("%[C%]: in %?")
      or #lines == 0 and line:find("%[C%]: in function 'error'")
    if not start then lines[#lines + 1] = line end
  end
  while #lines > 0 and lines[#lines]:find("%[C%]: in function 'xpcall'") do lines[#lines] = nil end
  return message, lines
end

local function handler(message)
  local text, lines = traceback(message)
  return { text = text, lines = lines }
end

-- Runs a chunk with interrupts caught. Returns the exit status.
local function execute(chunk, ...)
  local host = require "rapt.host"
  host.catch_interrupts(true)
  local fine, problem = xpcall(chunk, handler, ...)
  host.catch_interrupts(false)
  if fine then return OK end
  say(problem.text)
  -- one frame says no more than the message does
  if #problem.lines > 1
    and problem.text:find("^[^\n]-:%d+: ") then io.stderr:write(table.concat(problem.lines, "\n"), "\n") end
  return FAILURE
end

local run_usage = [[
Usage: rapt run FILE [ARGS]

Runs a Lua program; "-" reads it from standard input. `arg` holds ARGS. `require "rapt"` gives the library.
]]

-- Everything behind FILE is the program's own, options too.
local function run(arguments)
  local path = arguments[2]
  if path == "-h" or path == "--help" then
    io.stdout:write(run_usage)
    return OK
  end
  if not path then
    say("run: which file?\n", run_usage)
    return USAGE
  end
  local chunk, why
  if path == "-" then
    chunk, why = load(function() return io.read(4096) end, "=stdin", "t")
  else
    chunk, why = loadfile(path, "t")
  end
  if not chunk then
    say((why:gsub("^cannot open (.-)$", "cannot open %1")))
    return FAILURE
  end
  local own = { [0] = path }
  table.move(arguments, 3, #arguments, 1, own)
  _G.arg = own
  return execute(chunk, table.unpack(own))
end

-- --- Subcommands -----------------------------------------------------------------------------

local commands = {}

function commands.list(options)
  local list = require "rapt.list"
  if options.json then
    write_json(list.gather())
  else
    io.stdout:write(list.text())
  end
  return OK
end

function commands.help(options)
  io.stdout:write(require("rapt.help").text(options.operator))
  return OK
end

-- Every operator over lengths and threads: to the files that were asked for, otherwise printed.
local function bench_all(options)
  local sweep = require "rapt.bench_all"
  local request, why = sweep.from_options(options)
  if not request then
    say(why, "\nTry 'rapt bench --help'.")
    return USAGE
  end
  local result = sweep.run(request)
  sweep.save(result, request)
  if not request.json and not request.markdown then io.stdout:write(sweep.markdown(result)) end
  return OK
end

function commands.bench(options)
  local bench = require "rapt.bench"
  local request, why = bench.from_options(options)
  if not request then
    say(why, "\nTry 'rapt bench --help'.")
    return USAGE
  end
  if options.all then return bench_all(options) end
  local result = bench.run(request)
  if options.json then
    write_json(result)
  else
    io.stdout:write(bench.text(result))
  end
  return OK
end

function commands.catalogue()
  io.stdout:write(require("rapt.catalogue").text())
  return OK
end

-- The parser of everything but `run` and the prompt.
local function make_parser()
  local argparse = require "argparse"
  local parser = argparse("rapt", "Attention operators as plugins. Without a command: a Lua prompt.")
    :epilog("Exit status: 0 success, 1 failure, 2 wrong usage.")
  parser:flag("--version", "Print the version.")
  parser:flag("-i --interactive", "The prompt, even where standard input is no terminal.")
  parser:require_command(false)
  parser:command_target("command")
  -- here for the help text; its arguments never come this far
  parser:command("run", "Run a Lua program."):argument("file"):description("A file, or - for standard input.")

  local list = parser:command("list", "List operators, plugins and devices, and what is off and why.")
  list:flag("--json", "For programs.")

  local help = parser:command("help", "Describe an operator.")
  help:argument("operator", "Its name, like cog or core.matmul.")

  local bench = parser:command("bench", "Measure operators on this machine.")
  require("rapt.bench").add_options(bench)

  parser:command("catalogue", "Print the catalogue of all operators as Markdown.")
  return parser
end

-- Words that stand for an operator that is not there, and the like, are failures; the rest of what the
-- command
-- line itself has wrong is wrong usage.
local function dispatch(arguments)
  local parser = make_parser()
  local fine, options = parser:pparse(arguments)
  if not fine then
    say(options, "\nTry 'rapt --help'.")
    return USAGE
  end
  if options.version then
    io.stdout:write("rapt ", require("rapt.host").version, "\n")
    return OK
  end
  if not options.command then return require("rapt.repl").run(not require("rapt.terminal").is_tty(0)) end
  local status = FAILURE
  local done = execute(function() status = commands[options.command](options) end)
  return done == OK and status or done
end

-- What most people and programs type is answered without the argument parser.
local function quick(arguments)
  local first, n = arguments[1], #arguments
  if first == "run" then return run(arguments) end
  if n == 0 then
    if require("rapt.terminal").is_tty(0) then return require("rapt.repl").run() end
    return run { "run", "-" }
  end
  if first == "--version" and n == 1 then
    io.stdout:write("rapt ", require("rapt.host").version, "\n")
    return OK
  end
  if first == "list" and (n == 1 or n == 2 and arguments[2] == "--json") then
    local status = FAILURE
    local done = execute(function() status = commands.list { json = n == 2 } end)
    return done == OK and status or done
  end
end

function cli.main(arguments)
  return quick(arguments) or dispatch(arguments)
end

return cli
