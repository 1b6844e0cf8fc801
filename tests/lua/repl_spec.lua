-- The prompt: through a pipe, and once through a pseudo terminal.

package.path = (debug.getinfo(1, "S").source:match("^@(.*)repl_spec%.lua$") or "") .. "?.lua;" .. package.path
local helper = require "cli_helper"

-- What the prompt prints for some lines, without banner and prompts.
local function prompt(lines)
  local status, out, err = helper.rapt("-i", { stdin = table.concat(lines, "\n") .. "\n",
    env = "XDG_STATE_HOME=/nonexistent COLUMNS=80" })
  assert.equal(0, status)
  out = out:gsub("^.-leaves\n", ""):gsub("[^\n]+", function(line)
    local n
    repeat line, n = line:gsub("^>>? ", "") until n == 0
    return line
  end):gsub("\n+$", "")
  return out, err
end

-- A chroot without /dev/pts has none.
local terminals = os.execute("script -qec true /dev/null </dev/null >/dev/null 2>&1")
local on_terminal = terminals and it or function(name)
  pending(name .. ": no pseudo-terminal can be made here")
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
    local command = [[script -qec "'%s' run '%s'" /dev/null </dev/null | (sleep 0.3; cat)]]
    local pipe = io.popen(command:format(helper.binary, program))
    local out = pipe:read("a")
    pipe:close()
    os.remove(program)
    for i = 1, 20000 do assert.truthy(out:find(("%07d|"):format(i), 8 * i - 7, true)) end
  end)

  on_terminal("edits lines on a terminal, keeps a history, and takes Ctrl-C and Ctrl-D", function()
    local folder = helper.folder()
    os.execute("mkfifo '" .. folder .. "/keys'")
    -- Every key is typed when what the last one leads to is there, however slow the machine.
    local command = [[exec env TERM=xterm NO_COLOR=1 XDG_STATE_HOME='%s' \
      timeout 100 script -qec '"%s"' /dev/null <'%s/keys']]
    local pipe = io.popen(command:format(folder, helper.binary, folder))
    local keys = assert(io.open(folder .. "/keys", "w"))
    keys:setvbuf("no")
    local out, from = "", 1
    local function wait(text)
      local _, last = out:find(text, from, true)
      while not last do
        local byte = assert(pipe:read(1), ("no %q in what came: %s"):format(text, out))
        out = out .. byte
        _, last = out:find(text, from, true)
      end
      from = last + 1
    end
    local function enter(text, answer)
      keys:write(text)
      wait(answer)
      wait("> ")
    end
    wait("> ")
    enter("11 + 1\r", "\n12\r\n")
    keys:write("given up")
    wait("given up")
    enter("\3", "^C")
    keys:write("for i = 5, 5 do\r")
    wait(">> ")
    enter('print("five" .. i) end\r', "\nfive5\r\n")
    enter("t = rapt.ones(1)\r", "\n")
    enter("t:is_cont\t()\r", "\ntrue\r\n")
    enter("\27[A\27[A\27[A\27[A\r", "\n12\r\n")
    keys:write('print("run" .. "ning") while true do end\r')
    wait("\nrunning\r\n")
    keys:write("\4") -- one that nobody reads yet is lost, and does no harm
    enter("\3", "interrupted")
    keys:write("\4")
    out = out .. pipe:read("a")
    keys:close()
    assert.is_true(pipe:close(), out)
    local history = assert(io.open(folder .. "/rapt/history"))
    local text = history:read("a")
    history:close()
    assert.equal('11 + 1\nfor i = 5, 5 do print("five" .. i) end\n'
      .. 't = rapt.ones(1)\nt:is_contiguous()\n11 + 1\n'
      .. 'print("run" .. "ning") while true do end\n', text)
    os.execute("rm -r '" .. folder .. "'")
  end)
end)
