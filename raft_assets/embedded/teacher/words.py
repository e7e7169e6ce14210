"""Lists of English words that the teacher's rules share."""


def word_set(text: str) -> frozenset[str]:
    """Return the words of a list as it is written here."""
    return frozenset(text.split())


PRONOUNS = word_set(
    "he she it they i you we him her them us me this that these those here there who which such so one ones"
    " another others both each none some many most all several few something someone anyone everyone everything"
    " nothing nobody former latter other same its their his my our your everybody anything somebody"
)
# a noun phrase with one of these in it is understood only with another sentence
POINTING = word_set(
    "he she it they his her hers its their theirs him them himself herself itself themselves this these those"
    " former latter such here above following our my your we i you us me same which who whom whose there below"
    " aforementioned respective similar"
)
# "many bats" and "other boats" are no subject that a question could name
QUANTIFIERS = word_set(
    "other others another both many some most several few all each any more none one every much less half no enough"
    " various different certain numerous multiple"
    " subsequent further additional"
)
APPROXIMATIONS = word_set(
    "over about around approximately nearly almost more than at least most some only up to roughly fewer less as"
    " many just under exactly"
)
PERSON_NOUNS = word_set(
    "actor actress director producer author writer novelist screenwriter critic historian farmer surfer"
    " windsurfer rider player singer people person woman women man men boy girl judge king queen emperor prince"
    " princess duke baron professor doctor scientist researcher biologist zoologist artist musician composer"
    " photographer journalist editor designer engineer inventor shaper hunter servant teacher student wife husband"
    " father mother son daughter brother sister child children friend lover villain hero heroine protagonist"
    " sailor athlete champion viewer user owner scholar filmmaker cinematographer lady kiteboarder bodyboarder"
    " wakeboarder beginner physicist chemist physiologist anatomist naturalist priest surgeon botanist"
    " neuroscientist microbiologist ecologist veterinarian physician astronomer geologist geographer manager chief"
    " captain master officer pilot foreman forewoman warden ranger inspector keeper harbourmaster harbormaster"
    " mayor minister president chairman chairwoman secretary treasurer clerk assistant cook mechanic"
    " electrician technician carpenter mason architect merchant trader fisherman fishermen auctioneer diver"
    " skipper deckhand volunteer worker employee colleague newcomer visitor passenger driver operator agent tenant"
    " nurse medic dispatcher controller caver conservationist expert specialist founder entrepreneur"
    " businessman businesswoman lawyer lord monk abbot bishop governor commander admiral lieutenant sergeant"
    " soldier painter poet resident inhabitant villager citizen commuter tourist hiker smuggler porter traveller"
    " traveler candidate pupil member neighbour neighbor schoolchild schoolteacher shopkeeper competitor referee"
    " opponent winner loser learner patient victim survivor settler explorer missionary observer listener reader"
    " vendor landlord partner parent adult teenager spectator witness heir slave nun supervisor coordinator leader"
    " instructor trainer planner lasher stevedore docker bosun apprentice buyer seller customer"
    " guards guides fans locals"
    " infant"
)
HUMAN_VERBS = word_set(
    "direct write play portray star act say state tell claim argue explain describe note compose marry study"
    " teach invent design publish suggest believe think recall remark praise criticize criticise announce hire"
    " earn graduate attend meet voice co-write adapt film learn found establish pioneer perform score paint edit"
    " photograph train discover propose declare coin observe notice test repeat conclude solve warn oversee manage"
    " chair own approve sign draw translate patent hold record climb"
)
TITLES = word_set(
    "mr mr. mrs mrs. ms ms. dr dr. professor count countess baron duke prince princess emperor king queen lady"
    " lord sir father captain reverend president bishop abbot admiral saint"
)
FIRST_NAMES = word_set(
    "james john robert michael william david richard joseph thomas charles christopher daniel matthew anthony"
    " mark donald steven paul andrew joshua kenneth kevin brian george edward ronald timothy jason jeffrey ryan"
    " jacob gary nicholas eric jonathan stephen larry justin scott brandon benjamin samuel gregory frank alexander"
    " raymond patrick jack dennis jerry tyler aaron jose henry adam douglas nathan peter zachary kyle walter"
    " harold jeremy ethan carl keith roger gerald christian terry sean arthur austin noah lawrence jesse joe bryan"
    " billy jordan albert dylan bruce willie gabriel alan juan logan wayne ralph roy eugene randy vincent russell"
    " louis philip bobby johnny bradley mary patricia jennifer linda elizabeth barbara susan jessica sarah karen"
    " lisa nancy betty sandra margaret ashley kimberly emily donna michelle carol amanda melissa deborah stephanie"
    " rebecca sharon laura cynthia dorothy amy kathleen angela shirley brenda emma anna pamela nicole samantha"
    " katherine christine helen debra rachel carolyn janet maria catherine heather diane olivia julie joyce"
    " victoria ruth lauren kelly christina joan evelyn judith andrea hannah megan cheryl jacqueline martha teresa"
    " gloria sara janice ann kathryn abigail sophia frances jean alice judy isabella julia grace amber denise"
    " danielle marilyn beverly charlotte natalie theresa diana doris kayla alexis lori marie denis tom tim mike"
    " jim bill bob dave steve chris dan greg fritz max hans werner boris guillermo hugo oscar javier dino laird"
    " kai newman duke gordon lazzaro georges hiram hamilton sven johann friedrich aristotle frederic"
)
# nouns that name what was mentioned before when they are alone after "the"
GENERIC_NOUNS = word_set(
    "film films movie movies series show shows novel novels book books story character characters species family"
    " families team teams group groups study studies game games scene scenes role roles company organization"
    " competition event events season seasons episode episodes article author director actor actress cast crew"
    " script project production soundtrack album song songs trailer title name names term word performance award"
    " awards result results system process method idea concept theme themes work works version versions adaptation"
    " critic critics site location area region country city town house place party man woman men women boy girl"
    " child children people person couple brothers sisters latter former first second third rest majority sequel"
    " sequels franchise studio plot reason problem issue purpose practice sport case cases example pair two three"
    " technique design designs model models board boards equipment kite kites rider riders animal animals bat bats"
    " plan plans deal rights patent decision evidence effect effects data report reports paper research"
    " researchers function call class object argument value iterator keyword attribute module parameter course"
    " rule rules fee fund list tower building ship ships boat boats vessel lamp light room hall office committee"
    " machine station service duty shift hut price number figure total fine limit change changes test tests"
    " experiment experiments discovery observation question answer answers suggestion solution proof map structure"
    " device instrument apparatus operation operations procedure form record records count survey reading readings"
    " visit visits tour tours fire alarm exercise drill crane cranes quay store cave caves colony disease"
    " infection fungus virus vaccine cell cells field chart entrance text chapter section document handbook plant"
    " plants insect insects prey cause authority port harbour harbor bay sound sounds echo echoes student window"
    " fins fin owner action material materials level point points side end part parts use surface wave waves wind"
    " water sail mast contest format variant string dictionary sequence items item elements element callback"
    " thread task pool queue lock file files path folder"
)
STOP_WORDS = word_set(
    "a an the of in on at by for to from with and or but as is are was were be been being have has had do does"
    " did not no it its he she they his her their this that these those which who whom whose what when where why"
    " how many much more most than then also into onto over under up down out about after before between during"
    " through can could may might must shall should will would there such some any all each other another same"
    " very one ones s t long often year time purpose"
)
# "the city", when no more is said, was mentioned before
BACK_POINTING_NOUNS = word_set(
    "film movie show novel book story game company team group structure city town building country region"
    " description discovery experiment experiments test tests idea suggestion result results report study survey"
    " problem question answer name word term place event project plan decision method process system device"
    " instrument apparatus operation disease animal animals year period time day change changes deaths breaks man"
    " woman men couple object thing things matter fact latter former rest limit figure custom rule rules oil shop"
    " sport kind two three four five others same contract job position area site location species difference"
    " differences chain finding findings law rate loss losses decline approach hotel category surprise effort"
    " efforts campaign programme program work amount ban victim news"
    " individual individuals family camp route sum edge"
)
# what a description calls the call that it describes
TOPIC_NOUNS = word_set("function method call class constructor")
# things of which there is one; of every other "the ..." in a story about the past a sentence before said which
UNIQUE_NOUNS = word_set(
    "sun moon sea sky earth world universe ground air night day morning evening war internet past future present"
    " public north south east west coast ocean equator wild dark tropics middle"
)
ORGANISATION_NOUNS = word_set(
    "authority company council government team crew police committee union club department office agency"
    " university firm parliament court staff personnel navy army ministry"
)
COLLECTIVE_NOUNS = word_set(
    "number variety majority pair series team crew staff police half percent couple handful lot range group"
    " family species people fish sheep third quarter"
)
# verbs whose object or subject alone makes no question: "What did X have?"
LIGHT_VERBS = word_set(
    "have be become include say state seem appear remain mean go come make take get do let call consist lead"
    " believe argue claim suggest note feel think give put keep show tend begin start continue try help need want"
    " like bring know find set stay stand turn play"
)
SUBORDINATORS = word_set(
    "while although though because since as after before with including whereas if when where unless until which"
    " who whom whose that so but yet whereby resulting making leading causing allowing giving meaning using being"
    " having"
)
CLAUSE_OPENERS = word_set(
    "because while although though if since as unless that whether like unlike despite after before until when"
    " where once whereas"
)
# the main clause after these is true without them
DROPPED_CLAUSE_OPENERS = word_set("although though while whereas because since")
OPENING_ADVERBS = word_set(
    "however additionally furthermore moreover also similarly nevertheless nonetheless overall generally"
    " typically usually historically traditionally today originally initially consequently therefore thus"
    " meanwhile finally eventually subsequently unfortunately interestingly instead currently recently later"
    " specifically notably ultimately nowadays afterwards"
)
VAGUE_OPENERS = word_set(
    "hence thus indeed perhaps still then even often sometimes usually instead otherwise elsewhere"
)
