-- The command line: exit statuses, messages, JSON.

package.path = (debug.getinfo(1, "S").source:match("^@(.*)cli_spec%.lua$") or "") .. "?.lua;" .. package.path
local helper = require "cli_helper"
local cjson = require "cjson"
local rapt = helper.rapt

local function lines_in(text)
  local _, n = text:gsub("\n", "\n")
  return n
end

describe("rapt", function()
  local folder

  setup(function() folder = helper.folder() end)
  teardown(function() os.execute("rm -r '" .. folder .. "'") end)

  local function script(text)
    local path = folder .. "/script.lua"
    local handle = assert(io.open(path, "w"))
    handle:write(text)
    handle:close()
    return path
  end

  it("prints its version", function()
    local status, out, err = rapt("--version")
    assert.same({ 0, "" }, { status, err })
    assert.truthy(out:find("^rapt %d+%.%d+%.%d+\n$"))
  end)

  it("prints help", function()
    for _, arguments in ipairs { "--help", "-h", "bench --help", "run --help", "list --help" } do
      local status, out = rapt(arguments)
      assert.equal(0, status)
      assert.truthy(out:find("^Usage: rapt"), out)
    end
  end)

  it("answers wrong usage with status 2 and the nearest command", function()
    local status, out, err = rapt("benhc")
    assert.same({ 2, "" }, { status, out })
    assert.truthy(err:find("bench", 1, true), err)
    for _, arguments in ipairs { "help", "bench", "run", "bench cog -B none", "bench cog --dtype f8",
      "bench cog --causal --full", "list --nonsense", "--nonsense", "catalogue x" } do
      local code, text, problem = rapt(arguments)
      assert.same({ 2, "" }, { code, text }, arguments)
      assert.truthy(problem:find("^rapt: "), problem)
    end
  end)

  it("answers an unknown operator with status 1, one line, and the nearest name", function()
    for _, arguments in ipairs { "help sotfmax", "bench sotfmax" } do
      local status, out, err = rapt(arguments)
      assert.same({ 1, "" }, { status, out })
      assert.equal(1, lines_in(err), err)
      assert.truthy(err:find("sotfmax", 1, true) and err:find("softmax", 1, true), err)
    end
  end)

  it("lists operators, plugins and devices", function()
    local status, out = rapt("list")
    assert.equal(0, status)
    for _, word in ipairs { "softmax", "cog", "sha256", "cpu", "matmul" } do
      assert.truthy(out:find(word, 1, true), word)
    end
    local code, json = rapt("list --json")
    assert.equal(0, code)
    local all = cjson.decode(json)
    local found = {}
    for _, op in ipairs(all.operators) do found[op.name] = op end
    assert.is_false(found.cog.builtin)
    assert.is_true(found["core.matmul"].builtin)
    assert.is_true(found.cog.kernels[1].backward)
    assert.equal("cpu", all.devices[1].name)
    assert.is_true(all.devices[1].available)
    for _, plugin in ipairs(all.plugins) do
      if plugin.name == "cog" then
        assert.equal("/", plugin.path:sub(1, 1))
        assert.truthy(plugin.hash:find("^%x+$") and #plugin.hash == 64)
        assert.same({ "cog" }, plugin.operators)
      end
    end
  end)

  it("lists a plugin that cannot be loaded, with the reason", function()
    local bad = folder .. "/plugins"
    assert(os.execute("mkdir -p '" .. bad .. "' && chmod 755 '" .. bad .. "' && echo no >'" .. bad
      .. "/bad.so'"))
    local status, out = rapt("list", { env = "RAPT_PLUGIN_PATH='" .. bad .. "'" })
    assert.equal(0, status)
    assert.truthy(out:find("bad[^\n]*off[^\n]*bad%.so%s+%S"), out)
    local _, json = rapt("list --json", { env = "RAPT_PLUGIN_PATH='" .. bad .. "'" })
    local reason
    for _, plugin in ipairs(cjson.decode(json).plugins) do
      if plugin.path:find("bad.so", 1, true) then reason = plugin.error end
    end
    assert.truthy(reason and #reason > 0)
  end)

  it("describes operators", function()
    local status, out = rapt("help cog")
    assert.equal(0, status)
    for _, word in ipairs { "2411.07176", "B H N D", "causal", "scale", "1/sqrt(D)", "backward",
      "rapt.ops.cog{" } do
      assert.truthy(out:find(word, 1, true), word)
    end
    for line in out:gmatch("[^\n]+") do assert.is_true((utf8.len(line) or #line) <= 80, line) end
    assert.equal(0, (rapt("help core.matmul")))
  end)

  it("runs programs with their own arguments", function()
    local path = script("print(arg[0], #arg, ...) os.exit(7)")
    local status, out = rapt("run '" .. path .. "' --json -x list")
    assert.same({ 7, path .. "\t3\t--json\t-x\tlist\n" }, { status, out })
  end)

  it("tells a program's error with its place and a traceback of the program alone", function()
    local path = script("local function f() error('broken') end\nlocal function g() f() end\ng()")
    local status, out, err = rapt("run '" .. path .. "'")
    assert.same({ 1, "" }, { status, out })
    assert.truthy(err:find("^rapt: [^\n]*script%.lua:1: broken\n"), err)
    assert.truthy(err:find("script.lua:2:", 1, true), err)
    assert.falsy(err:find("cli.lua", 1, true), err)
  end)

  it("tells errors that are no strings", function()
    for _, value in ipairs { "nil", "{}",
      "setmetatable({}, {__tostring = function() return 'shown' end})" } do
      local status, _, err = rapt("run '" .. script("error(" .. value .. ")") .. "'")
      assert.equal(1, status)
      assert.truthy(err:find("^rapt: "), err)
    end
  end)

  it("tells a program that is not there, or is no Lua", function()
    local status, _, err = rapt("run '" .. folder .. "/none.lua'")
    assert.equal(1, status)
    assert.truthy(err:find("none.lua", 1, true) and lines_in(err) == 1, err)
    status, _, err = rapt("run '" .. script("x = = 1") .. "'")
    assert.equal(1, status)
    assert.truthy(err:find("script.lua:1:", 1, true) and lines_in(err) == 1, err)
  end)

  it("runs what it is fed where standard input is no terminal", function()
    local status, out = rapt("", { stdin = "local x = 20\nprint(x + 1)\n" })
    assert.same({ 0, "21\n" }, { status, out })
    status, out = rapt("run - a b", { stdin = "print(select('#', ...), arg[2])" })
    assert.same({ 0, "2\tb\n" }, { status, out })
    local code, _, err = rapt("", { stdin = "error('x', 0)" })
    assert.same({ 1, "rapt: x\n" }, { code, err })
  end)

  it("turns the first SIGINT into an error, and dies of the second", function()
    local function start(text)
      local pipe = io.popen(([[sh -c 'echo $$; exec "$0" run "$1"' '%s' '%s' 2>&1; echo status $?]]):format(
        helper.binary, script(text)))
      local pid = pipe:read("l")
      assert.equal("go", pipe:read("l"))
      return pipe, function() os.execute("kill -INT " .. pid) end
    end
    local pipe, interrupt = start("io.write('go\\n') io.flush() local n = 0 while true do n = n + 1 end")
    interrupt()
    local text = pipe:read("a")
    pipe:close()
    assert.truthy(text:find("script%.lua:1: interrupted"), text)
    assert.truthy(text:find("status 1\n", 1, true), text)
    pipe, interrupt = start([[pcall(function() io.write('go\n') io.flush() while true do end end)
      io.write('caught\n') io.flush() while true do end]])
    interrupt()
    assert.equal("caught", pipe:read("l"))
    interrupt()
    text = pipe:read("a")
    pipe:close()
    assert.truthy(text:find("status 130\n", 1, true), text)
  end)

  it("ends quietly when nobody reads on", function()
    local handle = io.popen(("'%s' catalogue 2>&1 >/dev/null | cat; '%s' catalogue 2>&1 | head -n 1"):format(
      helper.binary, helper.binary))
    local text = handle:read("a")
    handle:close()
    assert.equal("# Operator catalogue\n", text)
  end)

  it("fails when its output cannot be written", function()
    local path = script("print('x')")
    local _, _, status = os.execute(("'%s' run '%s' >/dev/full 2>/dev/null"):format(helper.binary, path))
    assert.equal(1, status)
    _, _, status = os.execute(("'%s' list >/dev/full 2>/dev/null"):format(helper.binary))
    assert.equal(1, status)
  end)

  it("names itself once where a setting is wrong", function()
    for _, setting in ipairs { "RAPT_THREADS=0", "RAPT_THREADS=2x", "RAPT_CPU=AVX2" } do
      local status, out, err = rapt("list", { env = setting })
      assert.equal(1, status)
      assert.equal("", out)
      assert.truthy(err:find("^rapt: RAPT_%u+ is '[^\n]+\n$"), err)
    end
  end)

  it("prints a catalogue that names every operator, and the one in docs is current", function()
    local status, out = rapt("catalogue", { env = "RAPT_PLUGIN_PATH= XDG_DATA_HOME=/nonexistent" })
    local file = assert(io.open(helper.source .. "/docs/catalogue.md"))
    local kept = file:read("a")
    file:close()
    assert.is_true(kept == out,
      "docs/catalogue.md is not current: RAPT_PLUGIN_PATH= build/core/cli/rapt catalogue >docs/catalogue.md")
    assert.equal(0, status)
    for _, name in ipairs { "softmax", "cog", "core.matmul", "core.adamw" } do
      assert.truthy(out:find("\n## " .. name .. "\n", 1, true), name)
    end
  end)
end)
