-- The prompt: through a pipe, and on a terminal.

package.path = (debug.getinfo(1, "S").source:match("^@(.*)repl_spec%.lua$") or "") .. "?.lua;" .. package.path
local helper = require "cli_helper"
local terminal = require "terminal_helper"

-- What the prompt prints for some lines, without banner and prompts.
local function prompt(lines)
  local status, out, err = helper.rapt("-i", { stdin = table.concat(lines, "\n") .. "\n",
    env = "XDG_STATE_HOME=/dev/null/none COLUMNS=80" })
  assert.equal(0, status)
  out = out:gsub("^.-leaves\n", ""):gsub("[^\n]+", function(line)
    local n
    repeat line, n = line:gsub("^>>? ", "") until n == 0
    return line
  end):gsub("\n+$", "")
  return out, err
end

-- A chroot without /dev/pts has no terminals.
local on_terminal = terminal.why_none and function(name)
  pending(name .. ": no pseudo-terminal can be made here: " .. terminal.why_none)
end or it

-- The prompt on a terminal, once it asks.
local function start_prompt(state_folder)
  local program = terminal.start { "env", "TERM=xterm", "NO_COLOR=1", "XDG_STATE_HOME=" .. state_folder,
    helper.binary }
  program:wait("> ")
  return program
end

-- Types, and waits for what that leads to and for the next prompt.
local function enter(program, text, answer)
  program:type(text)
  program:wait(answer)
  program:wait("> ")
  program:check(not program:modes().canonical, "the prompt is shown before keys are edited")
end

describe("the prompt", function()
  it("prints what expressions give, without = or return", function()
    assert.equal("2", (prompt { "1 + 1" }))
    assert.equal('"a\\tb"', (prompt { "'a\\tb'" }))
    assert.equal("3", (prompt { "=3" }))
    assert.equal("nil", (prompt { "unheard_of" }))
    assert.equal("", (prompt { "x = 1" }))
    assert.equal("1\n2", (prompt { "1, 2" }))
    assert.equal("5\n6", (prompt { "5", "_ + 1" }))
  end)

  it("prints tables with sorted keys, cycles and limits", function()
    assert.equal("{1, 2, a = {b = {}}, z = true}", (prompt { "{1, 2, z = true, a = {b = {}}}" }))
    assert.equal("{me = <cycle>}", (prompt { "t = {} t.me = t", "t" }))
    assert.truthy((prompt { "t = {} for i = 1, 1000 do t[i] = i end", "t" }):find("... 940 more", 1, true))
    assert.truthy((prompt { "t = {} for i = 1, 50 do t = {t} end", "t" }):find("{...}", 1, true))
    local long = prompt { "t = {} for i = 1, 20 do t['key' .. i] = ('x'):rep(20) end", "t" }
    for line in long:gmatch("[^\n]+") do assert.is_true(#line <= 80, line) end
  end)

  it("goes on over several lines", function()
    assert.equal("1\n2", (prompt { "for i = 1, 2 do", "print(i)", "end" }))
    assert.equal("7", (prompt { "x = [[", "]] x = 7", "x" }))
  end)

  it("shows tensors", function()
    local out = prompt { "rapt.ones(2, 3)", "{t = rapt.zeros(4)}" }
    assert.truthy(out:find("2,3", 1, true) and out:find("f32", 1, true), out)
    assert.truthy(out:find("{t = [4]", 1, true) or out:find("{t = ", 1, true), out)
  end)

  it("goes on after errors, with the place and the way there", function()
    local out, err = prompt { "x = = 1", "function f() error('broken') end",
      "function g() f() return 1 end", "g()",
      "error({code = 4})", "error()", "7" }
    assert.equal("7", out)
    assert.truthy(err:find("unexpected symbol near '='", 1, true), err)
    assert.truthy(err:find("prompt:1: broken\n  prompt:1", 1, true), err)
    assert.truthy(err:find("{code = 4}", 1, true), err)
    assert.falsy(err:find("repl.lua", 1, true), err)
  end)

  it("survives values whose __tostring fails", function()
    assert.truthy((prompt { "setmetatable({}, {__tostring = function() error('no') end})", "8" }):find("8",
      1, true))
  end)

  it("has help, and help for an operator", function()
    assert.truthy((prompt { "help" }):find("rapt.operators()", 1, true))
    assert.truthy((prompt { "help cog" }):find("2411.07176", 1, true))
    assert.truthy((prompt { "rapt.help('cog')" }):find("2411.07176", 1, true))
    local _, err = prompt { "help cgo" }
    assert.truthy(err:find("cog", 1, true), err)
  end)

  it("says that a local is gone", function()
    assert.truthy((prompt { "local x = 1" }):find("leave out 'local'", 1, true))
  end)

  it("completes names", function()
    local repl = require "rapt.repl"
    _G.rapt = require "rapt"
    local function completions(text)
      local typed, names = repl.complete(text)
      return typed, table.concat(names, " ")
    end
    assert.same({ 5, "print" }, { completions("print") })
    assert.same({ 1, "cog" }, { completions("y = rapt.ops.c") })
    assert.truthy(select(2, completions("rapt.ra")):find("rand .*randint randn"))
    assert.truthy(select(2, completions("help core.mat")):find("core.matmul", 1, true))
    assert.truthy(select(2, completions('rapt.help("so')):find("softmax", 1, true))
    assert.equal("viz", select(2, completions("rapt.vi")))
    assert.truthy(select(2, completions("rapt.viz.h")):find("heatmap", 1, true))
    _G.some_tensor = _G.rapt.ones(1)
    assert.truthy(select(2, completions("some_tensor:tran")):find("transpose", 1, true))
    assert.equal("", select(2, completions("nothing.at.all")))
    _G.some_tensor, _G.rapt = nil, nil
  end)

  on_terminal("loses nothing of what it writes to a slow terminal", function()
    local program = os.tmpname()
    local handle = assert(io.open(program, "w"))
    handle:write([[local t = require "rapt.terminal" t.width() t.colours(1) t.is_tty(0)
      for i = 1, 20000 do io.write(("%07d|"):format(i)) end]])
    handle:close()
    local printer = terminal.start { helper.binary, "run", program }
    printer:wait_until_full()
    printer:leaves()
    os.remove(program)
    local out = printer.out
    for i = 1, 20000 do assert.truthy(out:find(("%07d|"):format(i), 8 * i - 7, true)) end
  end)

  on_terminal("edits lines on a terminal, keeps a history, and takes Ctrl-C and Ctrl-D", function()
    local folder = helper.folder()
    local program = start_prompt(folder)
    enter(program, "11 + 1\r", "\n12\r\n")
    program:type("given up")
    program:wait("given up")
    enter(program, "\3", "^C")
    enter(program, "for i = 5, 5 do\r", ">")
    enter(program, 'print("five" .. i) end\r', "\nfive5\r\n")
    enter(program, "t = rapt.ones(1)\r", "\n")
    enter(program, "t:is_cont\t()\r", "\ntrue\r\n")
    enter(program, "\27[A\27[A\27[A\27[A\r", "\n12\r\n")
    program:type('print("run" .. "ning") while true do end\r')
    program:wait("\nrunning\r\n")
    program:check(program:modes().canonical, "what runs finds the terminal as it was")
    program:type("\4") -- one that nobody reads yet is lost, and does no harm
    enter(program, "\3", "interrupted")
    program:type("\4")
    program:leaves()
    program:check(program.out:find("> ^D\r\n", -6, true), "Ctrl-D ends the line")
    program:check(program:modes().canonical and program:modes().echo, "the terminal is left as it was")
    local history = assert(io.open(folder .. "/rapt/history"))
    local text = history:read("a")
    history:close()
    assert.equal('11 + 1\nfor i = 5, 5 do print("five" .. i) end\n'
      .. 't = rapt.ones(1)\nt:is_contiguous()\n11 + 1\n'
      .. 'print("run" .. "ning") while true do end\n', text)
    os.execute("rm -r '" .. folder .. "'")
  end)

  on_terminal("leaves well after Ctrl-C while the terminal takes no more", function()
    local folder = helper.folder()
    local program = start_prompt(folder)
    program:type("while true do print() end\r")
    program:wait("\r\n\r\n\r\n")
    program:wait_until_full()
    enter(program, "\3", "interrupted")
    program:type("\4")
    program:leaves()
    os.execute("rm -r '" .. folder .. "'")
  end)
end)
