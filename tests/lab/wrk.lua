-- wrk counts no request that is never answered, and none whose conn the other end closes before it has answered. This
-- counts what is asked and what is answered, asks nothing more when SECONDS are over, and ends wrk as soon as every
-- conn has its answer; who has none when wrk's own time is over (`-d`, some seconds longer) is counted.
--   wrk -t1 -c CONNS -d ... -s wrk.lua URL -- SECONDS CONNS
local ffi = require("ffi")
ffi.cdef [[
    typedef struct { long sec, usec; } timeval;
    int gettimeofday(timeval *, void *);
    int getpid(void);
    int kill(int, int);
]]

local SIGINT, FOREVER = 2, 3600 * 1000
local clock = ffi.new("timeval")
local over, thread_of_all, begun
-- globals, as the summary reads them from another Lua state
conns, idle, asked, answered = 0, 0, 0, 0

local function now()
    ffi.C.gettimeofday(clock, nil)
    return tonumber(clock.sec) + tonumber(clock.usec) / 1e6
end

function setup(thread)
    thread_of_all = thread
end

function init(args)
    over, conns = now() + tonumber(args[1]), tonumber(args[2])
end

-- wrk asks a conn that is connected before each of its requests for how many milliseconds to wait with it.
function delay()
    if not begun then
        -- wrk has asked for a request before, to look at it
        begun, asked = true, 0
    end
    if now() < over then
        return 0
    end
    idle = idle + 1
    if idle == conns then
        ffi.C.kill(ffi.C.getpid(), SIGINT)
    end
    return FOREVER
end

function request()
    asked = asked + 1
    return wrk.request()
end

function response()
    answered = answered + 1
end

function done()
    local function count(name) return thread_of_all:get(name) end
    -- a conn that is not idle waits for its answer, or for being connected
    local waiting = math.max(count("asked") - count("answered"), count("conns") - count("idle"))
    print(string.format("Never answered: %d", waiting))
end
