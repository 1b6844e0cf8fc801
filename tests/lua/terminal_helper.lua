-- Programs of the specs on a terminal of their own. Every key is typed when what the last one leads to is
-- there, so that a slow machine only takes longer.

local pseudo_terminal = require "pseudo_terminal"

local helper = {}

local LIMIT = 120 -- seconds that a program may take in all

--- Why no terminal can be made here; nil if one can.
helper.why_none = (function()
  local terminal, why = pseudo_terminal.start { "true" }
  if not terminal then return why end
  terminal:close()
end)()

local program = {}
program.__index = program

--- Starts a program from a list of strings. Its methods raise an error that says all that is known of it.
function helper.start(arguments)
  local terminal = assert(pseudo_terminal.start(arguments))
  return setmetatable({ terminal = terminal, out = "", from = 1, start = pseudo_terminal.now() }, program)
end

--- canonical, echo, signals: whether the terminal edits lines, shows what is typed, and minds Ctrl-C.
function program:modes()
  return self.terminal:modes()
end

local function left(self)
  return self.start + LIMIT - pseudo_terminal.now()
end

-- Of /proc: "S" or the like, and what of the kernel it waits in.
local function state(pid)
  local function content(name)
    local file = io.open(("/proc/%d/%s"):format(pid, name))
    local text = file and file:read("a") or ""
    if file then file:close() end
    return text
  end
  return content("stat"):match("%) (%a)") or "?", content("wchan")
end

local function visible(text)
  return (text:gsub("[^\32-\126\128-\255]", function(c)
    if c == "\n" then return "\\n\n" elseif c == "\r" then return "\\r" end
    return ("\\%d"):format(c:byte())
  end))
end

-- What is wrong, and all that is known.
local function report(self, wrong)
  local how, number = self.terminal:ended(self.gone and 1 or 0)
  local lives
  if how then
    lives = how == "exit" and "it left with status " .. number or "signal " .. number .. " ended it"
  else
    lives = ("it still runs (%s %s)"):format(state(self.terminal.pid))
  end
  local modes = {}
  for name, on in pairs(self:modes()) do modes[#modes + 1] = (on and "" or "not ") .. name end
  table.sort(modes)
  return ("%s; after %.1f s %s; the terminal is %s; it wrote:\n%s"):format(wrong,
    pseudo_terminal.now() - self.start, lives, table.concat(modes, ", "), visible(self.out))
end

--- Fails unless `fine`.
function program:check(fine, wanted)
  if fine then return end
  local text = report(self, "not so: " .. wanted)
  self.terminal:close()
  assert(false, text)
end

local function read(self, wanted)
  local text, why = self.terminal:read(math.max(left(self), 0))
  if text then self.out = self.out .. text end
  self.gone = why == "end" -- nobody holds the terminal any more
  self:check(text or why == "end", wanted)
  return text
end

--- Reads until `text` has come behind what the last wait found.
function program:wait(text)
  local wanted = ("%q comes"):format(visible(text))
  while true do
    local _, last = self.out:find(text, self.from, true)
    if last then
      self.from = last + 1
      return
    end
    self:check(read(self, wanted), wanted)
  end
end

function program:type(keys)
  self.terminal:write(keys)
end

--- Reads nothing until the program sleeps because its terminal takes no more, or has ended.
function program:wait_until_full()
  local times, before = 0, -1
  repeat
    self:check(left(self) > 0, "the terminal is full")
    local ended = self.terminal:ended(0.01)
    local unread = self.terminal:unread()
    local sleeps = unread > 0 and unread == before and state(self.terminal.pid) == "S"
    times, before = sleeps and times + 1 or 0, unread
  until ended or times == 10
end

--- Reads what is left. Fails unless the program leaves with status 0.
function program:leaves()
  repeat until not read(self, "it leaves")
  local how, number = self.terminal:ended(math.max(left(self), 0))
  self:check(how == "exit" and number == 0, "it leaves with status 0")
end

return helper
