-- The prompt: reads, evaluates, prints. Runs inside the `rapt` program, which lends the line editor and
-- signals.

local pretty = require "rapt.pretty"
local terminal = require "rapt.terminal"

local repl = {}

local HISTORY_LINES = 2000
local FRAMES = 6

-- --- History ---------------------------------------------------------------------------------

local function state_folder()
  local state = os.getenv("XDG_STATE_HOME")
  if state and state:sub(1, 1) == "/" then return state .. "/rapt" end
  local home = os.getenv("HOME")
  return home and home ~= "" and home .. "/.local/state/rapt" or nil
end

-- The last lines of the history file; a file that has grown to twice that is cut.
local function load_history(path)
  local file = require "rapt.file"
  local text = file.read(path)
  local lines = {}
  for line in (text or ""):gmatch("[^\n]+") do lines[#lines + 1] = line end
  local kept = table.move(lines, math.max(1, #lines - HISTORY_LINES + 1), #lines, 1, {})
  if #lines > 2 * HISTORY_LINES then file.write(path, table.concat(kept, "\n") .. "\n") end
  return kept
end

-- One write at the end of the file, so that prompts side by side do not mix their lines.
local function append_history(path, line)
  local uv = require "luv"
  local fd, why = uv.fs_open(path, "a", tonumber("600", 8))
  if not fd then return nil, why end
  local done, write_error = uv.fs_write(fd, line .. "\n", -1)
  uv.fs_close(fd)
  return done, write_error
end

-- The history as an object: remember(line). Without a folder it lasts as long as the prompt.
local function open_history(editor)
  local folder = state_folder()
  local path = folder and folder .. "/history"
  if path then
    local made, why = require("rapt.file").make_folder(folder, tonumber("700", 8))
    if not made then
      io.stderr:write("rapt: the history is not kept: ", why, "\n")
      path = nil
    end
  end
  if path then
    for _, line in ipairs(load_history(path)) do editor.remember(line) end
  end
  return function(line)
    if not line:find("%S") then return end
    editor.remember(line)
    if path then
      local done, why = append_history(path, line)
      if not done then
        io.stderr:write("rapt: the history is not kept: ", why, "\n")
        path = nil
      end
    end
  end
end

-- A chunk of several lines becomes one line of history where a line's end is no more than a space: not within
-- comments and strings. Otherwise it stays several.
local function history_lines(lines)
  local all = table.concat(lines, "\n")
  if #lines == 1 or all:find("--", 1, true) or all:find("%[=*%[")
    or all:find("\\z?%s*\n") then return lines end
  local parts = {}
  for i, line in ipairs(lines) do parts[i] = line:match("^%s*(.-)%s*$") end
  return { table.concat(parts, " ") }
end

-- --- Evaluation ------------------------------------------------------------------------------

-- The text as a function, nil and "more" if it goes on, nil and an error otherwise.
local function compile(text)
  local chunk = load("return " .. text, "=prompt", "t")
  if chunk then return chunk end
  local why
  chunk, why = load(text, "=prompt", "t")
  if chunk then return chunk end
  if why:find("<eof>$") or why:find("near '?<eof>'?$") then return nil, "more" end
  return nil, why
end

-- Chunk names of the library's files begin so.
local own_folder = debug.getinfo(1, "S").source:match("^(.*)repl%.lua$")

-- The frames of the user's own code, innermost first.
local function frames(level)
  local list = {}
  while true do
    local info = debug.getinfo(level, "Sln")
    if not info then break end
    local own = info.source:sub(1, #own_folder) == own_folder
    if info.what ~= "C" and info.currentline > 0 and not own then
      list[#list + 1] = ("%s:%d%s"):format(info.short_src, info.currentline,
        info.name and (" in " .. info.name) or "")
    end
    level = level + 1
  end
  return list
end

local function failure(message)
  if type(message) ~= "string" then
    local meta = getmetatable(message)
    message = type(meta) == "table" and meta.__tostring and tostring(message) or pretty.format(message)
  end
  return { message = message, frames = frames(3) }
end

local function show_failure(problem, colours)
  io.stdout:flush()
  io.stderr:write(terminal.style(problem.message, "31", colours), "\n")
  if #problem.frames > 1 then
    for i, frame in ipairs(problem.frames) do
      if i > FRAMES then
        io.stderr:write("  ...\n")
        break
      end
      io.stderr:write(terminal.style("  " .. frame, "2", colours), "\n")
    end
  end
  io.stderr:flush()
end

local function interruptible(chunk, context)
  context.catch_interrupts()
  local results = table.pack(xpcall(chunk, failure))
  context.leave_interrupts()
  return results
end

-- Runs a chunk; prints what it returns. The last value is kept in `_`. Returns whether it went well.
local function evaluate(chunk, context)
  local fine, results = pcall(interruptible, chunk, context)
  if not fine then -- Ctrl-C just before the chunk or just behind it
    context.leave_interrupts()
    results = { false, { message = "interrupted", frames = {} } }
  end
  if not results[1] then
    show_failure(results[2], context.error_colours)
    return false
  end
  if results.n > 1 then _G._ = results[2] end
  local width = terminal.width()
  for i = 2, results.n do
    -- a __tostring of the user's may fail, too
    local shown, text = pcall(pretty.format, results[i], width)
    io.stdout:write(shown and text or ("(cannot be shown: " .. tostring(text) .. ")"), "\n")
  end
  io.stdout:flush()
  return true
end

-- "help cog" and "help", for those who do not want to type brackets.
local function help_command(line)
  local topic = line:match("^%s*help%s+([%w_.]+)%s*$")
  if topic then
    return function() return require("rapt").help(topic) end
  end
  if line:match("^%s*help%s*$") and rawget(_G, "help") == nil then
    return function() return repl.introduction end
  end
end

repl.introduction = [[
Type Lua. What an expression gives is printed; _ is the last value.
Tab completes, Ctrl-R searches the history, Ctrl-C stops what runs, Ctrl-D leaves.

  rapt.operators()                          the attention operators
  help cog                                  what one of them computes, takes and can do
  q = rapt.randn(1, 4, 32, 16)              batch, heads, positions, features
  y = rapt.ops.cog{q=q, k=q, v=q, causal=true}
  w = rapt.weights("cog", {q=q, k=q}, {causal=true})
  rapt.viz.heatmap(w)                       in the terminal; {path="w.png"} makes a file
  rapt.bench{"softmax", "cog"}              how fast, against this machine's own peak
  rapt.devices()                            where it can run
]]

-- --- Completion ------------------------------------------------------------------------------

local lua_words = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto",
  "if", "in",
  "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }

local function collect(names, prefix, from)
  for key in next, from do
    if type(key) == "string" and key:sub(1, #prefix) == prefix and key:match("^[%a_][%w_]*$") then
      names[key] = true
    end
  end
end

local operators_table

-- Names that stand behind `value.`: its own, and those of the tables behind it. Runs nobody's code but
-- rapt's.
local function fields(value, prefix)
  local names = {}
  local seen = 0
  if value ~= nil and value == operators_table then
    for _, name in ipairs(require("rapt").operators()) do names[name] = name:sub(1, #prefix) == prefix
      or nil end
  end
  if value == require "rapt" then collect(names, prefix, { bench = true, help = true, viz = true }) end
  local core = require "rapt.core"
  if core.is_tensor(value) then
    collect(names, prefix, core.methods)
    collect(names, prefix, { shape = true, dtype = true, device = true, grad = true, requires_grad = true })
    return names
  end
  while value ~= nil and seen < 8 do
    if type(value) == "table" then collect(names, prefix, value) end
    local meta = debug.getmetatable(value)
    if type(meta) ~= "table" then break end
    value = rawget(meta, "__index")
    if type(value) ~= "table" then break end
    seen = seen + 1
  end
  for name in pairs(names) do
    if name:sub(1, 2) == "__" then names[name] = nil end
  end
  return names
end

local function sorted(names)
  local list = {}
  for name in pairs(names) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- What could stand at the end of `text`: the number of bytes typed of it already, and the candidates.
function repl.complete(text)
  local rapt = require "rapt"
  operators_table = rapt.ops
  local typed = text:match("^%s*help%s+([%w_.]*)$") or text:match("[\"']([%w_.]*)$")
  if typed then
    local names = {}
    for _, name in ipairs(rapt.operators("all")) do names[name] = name:sub(1, #typed) == typed or nil end
    return #typed, sorted(names)
  end
  local path = text:match("[%a_][%w_.:]*$") or ""
  local parents, last = path:match("^(.*)[.:]([%w_]*)$")
  if not parents then
    local names = fields(_G, path)
    for _, word in ipairs(lua_words) do names[word] = word:sub(1, #path) == path or nil end
    if ("help"):sub(1, #path) == path and text == path then names.help = true end
    return #path, sorted(names)
  end
  local value = _G
  for part in parents:gmatch("[%w_]+") do
    if type(value) ~= "table" then return #last, {} end
    -- of this library fields may be loaded; of other people's tables nothing is run
    if value == rapt then value = rapt[part] else value = rawget(value, part) end
  end
  if value == nil then return #last, {} end
  return #last, sorted(fields(value, last))
end

-- --- The loop --------------------------------------------------------------------------------

-- Lines from a pipe, with the prompt printed as it is: for editors that run a prompt inside.
local function plain_editor()
  return {
    read = function(prompt)
      io.stdout:write((prompt:gsub("\1[^\1]*\1", "")))
      io.stdout:flush()
      local line = io.read("l")
      if not line then return nil, "end of file" end
      return line
    end,
    remember = function() end,
    completer = function() end,
    close = function() end,
  }
end

local function read_chunk(editor, prompts)
  local lines = {}
  while true do
    local line, why = editor.read(#lines == 0 and prompts.first or prompts.more)
    if not line then return nil, why, lines end
    lines[#lines + 1] = line
    if #lines == 1 and not line:find("%S") then return nil, "empty", {} end
    local command = #lines == 1 and help_command(line)
    if command then return command, nil, lines end
    local text = table.concat(lines, "\n")
    if #lines == 1 then text = text:gsub("^%s*=", "") end -- the habit of older prompts
    local chunk, problem = compile(text)
    if chunk then return chunk, nil, lines end
    if problem ~= "more" then return nil, problem, lines end
  end
end

local function banner(rapt)
  local cpu = rapt.devices()[1] or {}
  local operators = rapt.operators()
  local threads = (cpu.detail or ""):match("^[^,]*, [^,]*") or cpu.name
  local parts = { "rapt " .. require("rapt.host").version, _VERSION, threads }
  local text = table.concat(parts, " · ")
  if not terminal.utf8() then text = text:gsub(" · ", ", ") end
  local list = #operators > 0 and table.concat(operators, ", ") or "none found; 'rapt list' says why"
  io.stdout:write(text, "\noperators: ", list, "\nhelp, or help NAME; Ctrl-D leaves\n")
end

local function prompts_for(colours)
  if colours == "none" then return { first = "> ", more = ">> " } end
  return { first = "\1\27[1;36m\1>\1\27[0m\1 ", more = "\1\27[36m\1>>\1\27[0m\1 " }
end

--- Runs the prompt until the end of input. Returns the exit status.
function repl.run(interactive_pipe)
  local rapt = require "rapt"
  local host = require "rapt.host"
  _G.rapt = rapt
  local editor = interactive_pipe and plain_editor() or require "rapt.edit"
  local context = {
    catch_interrupts = function() host.catch_interrupts(true) end,
    leave_interrupts = function() host.catch_interrupts(false) end,
    error_colours = terminal.colours(2),
  }
  -- At a terminal Ctrl-C stops a line or what a line started; between the two it must not end the prompt.
  if not interactive_pipe then
    context.leave_interrupts = host.ignore_interrupts
    host.ignore_interrupts()
  end
  local remember = interactive_pipe and function() end or open_history(editor)
  local prompts = prompts_for(interactive_pipe and "none" or terminal.colours(1))
  editor.completer(repl.complete)
  banner(rapt)
  local told_of_local = false
  while true do
    local chunk, why, lines = read_chunk(editor, prompts)
    for _, line in ipairs(history_lines(lines)) do remember(line) end
    if chunk then
      local fine = evaluate(chunk, context)
      if fine and not told_of_local and lines[1]:find("^%s*local%s") then
        told_of_local = true
        io.stdout:write("(a local ends with its line here; leave out 'local' to keep it)\n")
      end
    elseif why == "end of file" then
      break
    elseif why ~= "interrupted" and why ~= "empty" then
      show_failure({ message = why, frames = {} }, context.error_colours)
    end
  end
  editor.close()
  io.stdout:write("\n")
  return 0
end

return repl
