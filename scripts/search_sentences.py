"""Writes runtime-js/pages/sentences.txt: the thousand sentences that the search page searches, made of small tables.

python scripts/search_sentences.py            # writes the file
python scripts/search_sentences.py --check    # writes nothing; status 1 where the file is not current
"""

from __future__ import annotations

import sys
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "runtime-js" / "pages" / "sentences.txt"

# city, country, river or water, language
PLACES = """
Vienna, Austria, the Danube, German
Paris, France, the Seine, French
Berlin, Germany, the Spree, German
Rome, Italy, the Tiber, Italian
Madrid, Spain, the Manzanares, Spanish
Lisbon, Portugal, the Tagus, Portuguese
London, the United Kingdom, the Thames, English
Dublin, Ireland, the Liffey, English and Irish
Prague, the Czech Republic, the Vltava, Czech
Budapest, Hungary, the Danube, Hungarian
Warsaw, Poland, the Vistula, Polish
Bucharest, Romania, the Dambovita, Romanian
Belgrade, Serbia, the Sava, Serbian
Zagreb, Croatia, the Sava, Croatian
Ljubljana, Slovenia, the Ljubljanica, Slovene
Athens, Greece, the Kifisos, Greek
Kyiv, Ukraine, the Dnipro, Ukrainian
Vilnius, Lithuania, the Neris, Lithuanian
Riga, Latvia, the Daugava, Latvian
Cairo, Egypt, the Nile, Arabic
Baghdad, Iraq, the Tigris, Arabic and Kurdish
Delhi, India, the Yamuna, Hindi and many other languages
Dhaka, Bangladesh, the Buriganga, Bengali
Hanoi, Vietnam, the Red River, Vietnamese
Bangkok, Thailand, the Chao Phraya, Thai
Seoul, South Korea, the Han, Korean
Tokyo, Japan, the Sumida, Japanese
Buenos Aires, Argentina, the Riachuelo, Spanish
Asuncion, Paraguay, the Paraguay, Spanish and Guarani
Santiago, Chile, the Mapocho, Spanish
Lima, Peru, the Rimac, Spanish and Quechua
Ottawa, Canada, the Ottawa, English and French
Canberra, Australia, the Molonglo, English
Nairobi, Kenya, the Nairobi, Swahili and English
Kinshasa, the Democratic Republic of the Congo, the Congo, French and Lingala
Khartoum, Sudan, the Nile, Arabic
Bamako, Mali, the Niger, Bambara
Phnom Penh, Cambodia, the Mekong, Khmer
Vientiane, Laos, the Mekong, Lao
Tbilisi, Georgia, the Kura, Georgian
"""

# animal, plural, where, food, the young
ANIMALS = """
otter; otters; along rivers and coasts; fish, crabs and shellfish; a pup
hedgehog; hedgehogs; in gardens and hedges; beetles, worms and slugs; a hoglet
red fox; foxes; in woods, fields and cities; mice, berries and leftovers; a cub
grey wolf; wolves; in forests and tundra; deer, elk and hares; a pup
brown bear; brown bears; in mountain forests; berries, roots and salmon; a cub
polar bear; polar bears; on the ice of the Arctic; seals; a cub
red deer; deer; in forests and on moors; grass, leaves and bark; a calf
beaver; beavers; in ponds that it dams itself; bark and water plants; a kit
badger; badgers; in burrows under woods; earthworms and roots; a cub
squirrel; squirrels; in trees; nuts and seeds; a kitten
mole; moles; in tunnels under meadows; worms and grubs; a pup
barn owl; barn owls; in barns and church towers; mice and voles; an owlet
white stork; storks; on roofs near wet meadows; frogs and grasshoppers; a chick
mallard; ducks; on lakes and rivers; water plants and snails; a duckling
mute swan; swans; on lakes and slow rivers; water plants; a cygnet
penguin; penguins; on cold southern coasts; fish and krill; a chick
ostrich; ostriches; on the savannas of Africa; grass, seeds and insects; a chick
African elephant; elephants; on savannas and in forests; grass, fruit and bark; a calf
giraffe; giraffes; on dry savannas; leaves of acacias; a calf
zebra; zebras; on African plains; grass; a foal
lion; lions; on grasslands; antelopes and buffalo; a cub
cheetah; cheetahs; on open plains; gazelles; a cub
hippopotamus; hippos; in rivers and lakes of Africa; grass, at night; a calf
gorilla; gorillas; in the forests of central Africa; leaves, stems and fruit; an infant
orangutan; orangutans; in the rainforests of Borneo and Sumatra; fruit; an infant
giant panda; pandas; in mountain forests of China; bamboo; a cub
koala; koalas; in the eucalyptus woods of Australia; leaves of eucalyptus; a joey
kangaroo; kangaroos; on Australian grasslands; grass; a joey
platypus; platypuses; in streams of eastern Australia; insect larvae and shrimp; a puggle
blue whale; whales; in all oceans; krill; a calf
dolphin; dolphins; in warm seas; fish and squid; a calf
grey seal; seals; on rocky shores; fish and sand eels; a pup
great white shark; sharks; in temperate seas; fish and seals; a pup
salmon; salmon; in the sea, and in rivers to spawn; insects and small fish; a fry
octopus; octopuses; in caves and cracks of the sea floor; crabs and clams; a larva
honey bee; bees; in hives; nectar and pollen; a larva
garden spider; spiders; in webs between plants; flies and moths; a spiderling
frog; frogs; in ponds and damp grass; insects and slugs; a tadpole
adder; adders; on heaths and at the edges of woods; lizards and mice; a snakelet
bat; bats; in caves, attics and hollow trees; moths and mosquitoes; a pup
camel; camels; in dry deserts; thorny plants and grass; a calf
llama; llamas; in the high Andes; grass and shrubs; a cria
reindeer; reindeer; in the north of Europe, Asia and America; lichen and grass; a calf
house mouse; mice; in houses and barns; grain and crumbs; a pup
"""

# element, symbol, number, what for, a fact
ELEMENTS = """
Hydrogen; H; 1; fuel cells and making ammonia; the lightest element of all
Helium; He; 2; balloons and cooling magnets; a gas that burns with nothing
Lithium; Li; 3; rechargeable batteries; so light that it floats on oil
Carbon; C; 6; steel, pencils and filters; found in every living thing
Nitrogen; N; 7; fertilizers and cooling; most of the air that we breathe
Oxygen; O; 8; breathing, welding and rockets; a fifth of the air
Fluorine; F; 9; toothpaste and pans that do not stick; the most reactive of the nonmetals
Neon; Ne; 10; glowing signs; a gas that shines red when a current flows
Sodium; Na; 11; salt and street lamps; a metal that reacts with water
Magnesium; Mg; 12; light alloys and flares; a metal that burns with a white flame
Aluminium; Al; 13; cans, foil and aircraft; the most common metal of the crust
Silicon; Si; 14; chips, solar cells and glass; found in sand and quartz
Phosphorus; P; 15; fertilizers and matches; an element of bones and teeth
Sulfur; S; 16; vulcanizing rubber and making acid; a yellow solid
Chlorine; Cl; 17; disinfecting water; a green and poisonous gas
Potassium; K; 19; fertilizers and soap; a metal soft enough to cut with a knife
Calcium; Ca; 20; cement and plaster; what makes bones hard
Titanium; Ti; 22; implants and aircraft; as strong as steel and much lighter
Chromium; Cr; 24; stainless steel and shiny plating; a metal that hardly rusts
Iron; Fe; 26; steel, rails and magnets; what makes blood red
Nickel; Ni; 28; coins and batteries; a silvery metal that does not rust
Copper; Cu; 29; wires and pipes; a reddish metal that conducts very well
Zinc; Zn; 30; protecting steel from rust; part of brass
Silver; Ag; 47; jewellery, mirrors and contacts; the best conductor of electricity
Tin; Sn; 50; solder and coating cans; part of bronze
Iodine; I; 53; disinfectants; an element that the thyroid needs
Tungsten; W; 74; filaments and drills; the metal with the highest melting point
Platinum; Pt; 78; catalysts and jewellery; rarer than gold
Gold; Au; 79; jewellery and contacts; a metal that never tarnishes
Mercury; Hg; 80; old thermometers; a metal that is liquid at room temperature
Lead; Pb; 82; batteries and shields against X-rays; a heavy and poisonous metal
Uranium; U; 92; fuel of nuclear power stations; a radioactive metal
"""

# dish, country, what it is
DISHES = """
Goulash; Hungary; a stew of beef, onions and paprika
Paella; Spain; rice with saffron, vegetables, chicken or seafood
Risotto; Italy; creamy rice that is stirred in broth
Carbonara; Italy; pasta with egg, cheese and cured pork
Gnocchi; Italy; dumplings of potato and flour
Ratatouille; France; a stew of aubergine, courgette, pepper and tomato
Bouillabaisse; France; a soup of several fish with saffron
Quiche; France; a tart of eggs, cream and bacon
Fondue; Switzerland; melted cheese into which bread is dipped
Wiener schnitzel; Austria; a thin cutlet of veal, breaded and fried
Sauerbraten; Germany; beef that was marinated in vinegar for days
Pierogi; Poland; dumplings filled with potato, cheese or cabbage
Borscht; Ukraine; a sour soup of beetroot
Moussaka; Greece; layers of aubergine, minced meat and white sauce
Tzatziki; Greece; yogurt with cucumber and garlic
Baklava; Turkey; a sweet pastry of nuts and syrup
Shakshuka; Tunisia; eggs that are poached in spicy tomato sauce
Tagine; Morocco; meat and dried fruit, cooked slowly in a clay pot
Falafel; Egypt; fried balls of ground beans and herbs
Hummus; Lebanon; a paste of chickpeas, sesame and lemon
Jollof rice; Senegal; rice that is cooked in tomato and chili
Injera; Ethiopia; a sour flat bread of teff
Biryani; India; spiced rice with meat or vegetables
Dal; India; a thick soup of lentils
Naan; India; a flat bread that is baked in a clay oven
Momo; Nepal; steamed dumplings with a spicy dip
Pho; Vietnam; a noodle soup with beef and herbs
Pad Thai; Thailand; fried rice noodles with tamarind and peanuts
Rendang; Indonesia; beef that is simmered in coconut milk until it is dry
Laksa; Malaysia; a spicy noodle soup with coconut
Adobo; the Philippines; meat that is braised in vinegar and soy sauce
Dim sum; China; small steamed dishes that are served with tea
Mapo tofu; China; soft tofu in a hot and numbing sauce
Kimchi; Korea; cabbage that is fermented with chili and garlic
Bibimbap; Korea; rice with vegetables, egg and chili paste
Sushi; Japan; vinegared rice with raw fish
Ramen; Japan; wheat noodles in a rich broth
Miso soup; Japan; a broth with fermented soybean paste
Tacos; Mexico; folded tortillas with a filling and salsa
Guacamole; Mexico; mashed avocado with lime and coriander
Ceviche; Peru; raw fish that is cured in lime juice
Feijoada; Brazil; a stew of black beans and pork
Empanadas; Argentina; baked turnovers filled with meat or cheese
Poutine; Canada; fries with cheese curds and gravy
Clam chowder; the United States; a creamy soup of clams and potatoes
Pavlova; New Zealand; a meringue with cream and fruit
"""

# who, what they do, with what
WORKERS = """
carpenter; builds and repairs things of wood; a saw, a plane and chisels
plumber; installs and repairs water pipes; wrenches and a torch
electrician; lays cables and connects sockets; pliers and a voltage tester
mason; builds walls of brick and stone; a trowel and mortar
roofer; covers houses with tiles; ladders and a hammer
painter; paints walls and window frames; brushes and rollers
glazier; cuts and fits panes of glass; a cutter and putty
locksmith; opens doors and makes keys; picks and files
blacksmith; forges iron; a hammer and an anvil
watchmaker; repairs watches; tweezers and a loupe
tailor; sews and alters clothes; scissors, needle and thread
shoemaker; makes and resoles shoes; leather and glue
baker; makes bread and rolls before dawn; an oven and a kneading machine
butcher; cuts and sells meat; knives and a saw
gardener; plants flowers and trims hedges; a spade and shears
farmer; grows crops and keeps cattle; a tractor and a plough
beekeeper; looks after hives and harvests honey; a smoker and a veil
fisherman; catches fish at sea; nets and a boat
forester; looks after woods and marks trees; a chainsaw and a map
miner; digs coal and ore; drills and a lamp
surveyor; measures land and draws boundaries; a theodolite
architect; designs buildings; plans and models
nurse; cares for patients; bandages and syringes
surgeon; operates on people; a scalpel and clamps
dentist; treats teeth and gums; a drill and a mirror
optician; fits glasses; lenses and charts
midwife; helps at births; a stethoscope
veterinarian; treats sick animals; syringes and a lot of patience
teacher; explains things to pupils; a board and books
librarian; orders, lends and finds books; a catalogue
journalist; asks questions and writes reports; a notebook and a recorder
translator; carries texts from one language to another; dictionaries
photographer; takes pictures; a camera and lamps
conductor; leads an orchestra; a baton
actor; plays roles on a stage; voice and gesture
judge; decides about disputes by the law; files and statutes
lawyer; represents people in court; contracts and arguments
accountant; keeps the books of a company; spreadsheets
pilot; flies aircraft; instruments and checklists
firefighter; puts out fires and rescues people; hoses and ladders
"""

# what is wrong; what helps
PROBLEMS = """
the tap drips; replace the worn washer inside of it
the sink is blocked; use a plunger before any chemicals
the toilet keeps running; adjust the float or change the flapper
a fuse blows again and again; unplug everything and find the device that is broken
the radiator stays cold at the top; let the air out of its valve
a door squeaks; put a drop of oil on the hinges
a drawer sticks; rub its runners with candle wax
the window fogs up on the inside; air the room and lower the humidity
mould grows in the corner; dry the wall and heat the room evenly
red wine falls on the carpet; blot it at once and rinse with cold water
chewing gum sticks to your trousers; freeze it and scrape it off
there is wax on the tablecloth; cover it with paper and iron it
a shirt has a grease stain; rub it with dish soap before washing
your shoes smell; leave baking soda in them overnight
wool became felt in the wash; next time wash it cold and do not spin it
the kettle is full of limescale; boil vinegar in it and rinse it well
food is burnt to the pan; soak it with water and baking soda
the freezer is full of ice; switch it off and let it thaw
the bread is stale; moisten it and bake it again for some minutes
the soup is too salty; add a potato or more water
the sauce has lumps; pass it through a sieve
onions make you cry; chill them first and use a sharp knife
fruit flies are in the kitchen; set up a glass with vinegar and a drop of soap
ants come into the house; close their path and remove what is sweet
your tyre is flat; look for the nail, patch the tube and pump it up
the bicycle chain jumps; clean it, oil it and check how far it is worn
the brakes of the bike squeal; clean the rim and adjust the pads
the car does not start in winter; check the battery first
the windscreen is frozen; use a scraper and never hot water
the wipers smear; clean the rubber with alcohol
the phone is full; delete old videos or move them to a disk
the battery of the phone is empty by noon; dim the screen and close what runs in the background
the phone fell into water; switch it off and let it dry for days
the computer is slow; restart it and see which program uses the memory
the printer prints stripes; clean the nozzles of the cartridge
the wireless network is weak; put the router higher and away from metal
you forgot your password; use the link to reset it and a password manager next time
an e-mail asks for your bank details; do not answer it, and delete it
the screen is too bright at night; switch to warm colours
your keys are locked in; call a neighbour who has a spare one, or a locksmith
the suitcase does not arrive; report it at the counter before you leave the airport
you missed the train; ask whether your ticket is valid for the next one
you are lost in the mountains; stay where you are and call for help
a thunderstorm comes while you hike; leave the ridge and avoid single trees
your feet hurt on the hike; stop early and cover the spot with a plaster
a bee has stung you; remove the sting and cool the skin
your nose bleeds; lean forward and press the nostrils together
you burnt your finger; hold it under cool running water
you have hiccups; hold your breath for a while
you cannot sleep; get up at the same time every day and leave the phone in another room
your eyes are tired of the screen; look into the distance every twenty minutes
your back hurts at the desk; stand up often and raise the monitor
the baby cries at night; see whether it is hungry, wet or too warm
the dog pulls on the lead; stop whenever it is tight
the cat scratches the sofa; put a scratching post beside it
leaves of the plant turn yellow; water it less and give it more light
slugs eat the lettuce; collect them in the evening
the lawn is full of moss; loosen it, and sow grass again
the tomatoes split; water them evenly
the neighbours are loud; talk to them before you complain
"""

# what, rule, where or with what
SPORTS = """
football; eleven players a side try to bring a ball into a goal without their hands; on grass
basketball; five players a side throw a ball through a ring; on a hall's floor
volleyball; six players a side keep a ball from touching their ground; in a hall or on a beach
tennis; two or four players hit a ball over a net with rackets; on clay, grass or hard courts
badminton; players hit a feathered shuttlecock over a net; in a hall
table tennis; players hit a small ball over a low net; on a table
cricket; a bowler throws at a wicket that a batsman guards; on an oval field
baseball; a batter tries to hit the ball and run around four bases; on a diamond
rugby; players carry an oval ball over a line; on grass
ice hockey; teams shoot a rubber puck into a goal; on ice
handball; seven players a side throw a ball into a goal; in a hall
golf; players try to reach eighteen holes with as few strokes as they can; on a course
swimming; athletes race in four styles; in a pool
rowing; crews race backwards over two kilometres in narrow boats; on calm water
sailing; crews race around buoys by the wind; at sea and on lakes
surfing; riders stand on a board and glide down waves; in the sea
diving; athletes jump from ten metres with somersaults; from a tower into a pool
judo; fighters throw or pin each other; on mats
fencing; opponents try to touch each other first with foil, épée or sabre; on a narrow strip
boxing; two people fight with their fists in gloves; in a ring
climbing; athletes go up a wall, secured by a rope; on rock or in halls
marathon running; people run a little more than forty-two kilometres; on roads
high jump; athletes leap over a bar, mostly backwards, onto a mat; in a stadium
cycling; riders race over mountains for three weeks; on roads
downhill skiing; racers take the fastest line through the gates; on snow
biathlon; athletes ski, and shoot at five targets; on snow
curling; teams slide stones and sweep before them; on ice
figure skating; skaters jump and spin to music; on ice
chess; two players try to trap the other's king; on sixty-four squares
bowling; players roll a heavy ball at ten pins; on a lane
"""

# instrument, family, how
INSTRUMENTS = """
violin; string; drawing a bow over four strings
cello; string; drawing a bow while sitting
double bass; string; plucking or bowing very thick strings
guitar; string; plucking six strings
harp; string; plucking strings with both hands and changing pitch with pedals
banjo; string; plucking strings over a skin
mandolin; string; plucking pairs of strings with a pick
zither; string; plucking strings that lie over a flat box
piano; keyboard; pressing keys that let hammers strike strings
harpsichord; keyboard; pressing keys that pluck strings
organ; keyboard; pressing keys and pedals that send air into pipes
accordion; keyboard; pulling bellows while pressing buttons
flute; woodwind; blowing across a hole
recorder; woodwind; blowing into a mouthpiece and covering holes
oboe; woodwind; blowing through a double reed
clarinet; woodwind; blowing through a single reed
bassoon; woodwind; blowing through a long double reed
saxophone; woodwind; blowing a reed on a brass body
trumpet; brass; buzzing the lips and pressing valves
trombone; brass; buzzing the lips and moving a slide
French horn; brass; buzzing the lips with a hand in the bell
tuba; brass; blowing the lowest notes of the brass
timpani; percussion; striking tuned kettles with mallets
snare drum; percussion; striking a skin with wires beneath it
xylophone; percussion; striking bars of wood
triangle; percussion; striking a bent rod of steel
"""

# plant, when it is sown or planted, when it is ripe or flowers
PLANTS = """
Tomatoes; sown indoors in March; from July until the first frost
Potatoes; planted in April; when their leaves have died
Carrots; sown outside from March on; about three months later
Radishes; sown every two weeks; after only four weeks
Lettuce; sown from March to August; before it flowers
Spinach; sown in early spring or autumn; in six to eight weeks
Onions; planted as small bulbs in spring; when their leaves bend
Garlic; planted in October; in the next July
Leeks; sown in spring; all winter long
Pumpkins; sown in May; in October, before the frost
Cucumbers; sown in May; while they are still firm and green
Beans; sown after the last frost; while the pods snap
Peas; sown in March; in June
Peppers; sown indoors in February; in August
Strawberries; planted in August; in the June after
Raspberries; planted in autumn; in summer
Blackcurrants; planted in autumn; in July
Apples; planted as young trees in autumn; from August to October
Cherries; planted in autumn; in June and July
Grapes; planted in spring; in September
Basil; sown in warm April; all summer
Parsley; sown in March; until it snows
Tulips; planted as bulbs in October; in April
Crocuses; planted in September; in early March
Sunflowers; sown in April; in late summer
Roses; planted in autumn; from June on
Lavender; planted in spring; in July
Dahlias; planted in May; until the frost
"""

# word, meaning
COMPUTING = """
An algorithm; a list of steps that solves a problem
A compiler; a program that turns source code into machine code
An interpreter; a program that runs source code step by step
A bug; a mistake in a program
A debugger; a tool that stops a program and shows its variables
A variable; a name for a value that may change
A function; a piece of code with a name, which takes arguments and returns a result
A loop; code that is repeated until a condition is met
Recursion; what a function does that calls itself
An array; a row of values that are found by their number
A hash table; a structure that finds values by keys in constant time
A linked list; a chain of values, each of which points to the next
A binary tree; a structure in which each node has two children at most
A stack; a pile of values of which the last is taken first
A queue; a line of values of which the first is taken first
A database; an ordered collection of data that can be searched
An index; what makes searching in a table fast
A transaction; a group of changes that happen together or not at all
A server; a computer that answers requests of others
A client; a program that asks a server for something
A browser; a program that shows web pages
A cookie; a small text that a site keeps in your browser
A cache; a fast place for things that were needed before
A protocol; a set of rules for how computers talk
A firewall; a filter that lets only wanted traffic through
Encryption; the art of making a message unreadable for others
A password; a secret that proves who you are
A backup; a copy for the day when the disk fails
Version control; a history of all changes of the code
A merge conflict; two changes of the same lines
Open source; software whose code everybody may read and change
Machine learning; a way of finding rules from examples
A neural network; layers of weights that are trained by examples
An embedding; a list of numbers that stands for the meaning of a text
A token; a piece of text that a language model reads
A graphics card; a processor that does thousands of small computations at once
A kernel; the core of an operating system, or a small program of a graphics card
A thread; one of several paths of work in a program
A deadlock; two threads that wait for each other for ever
Latency; the time until the first answer arrives
Bandwidth; how much data passes in a second
A pixel; the smallest point of a picture
"""

# feeling, when
MOODS = """
happy; her old friend rang the doorbell
proud; her daughter rode the bicycle alone for the first time
relieved; the doctor said that it was nothing serious
nervous; she waited for the exam to begin
angry; somebody had scratched her new car
sad; the last guest had left and the house was quiet
lonely; she spent the holidays in a foreign city
grateful; a stranger brought back her lost wallet
jealous; her colleague got the job that she had wanted
embarrassed; she called her boss by the wrong name
bored; the meeting went on for a third hour
excited; the plane began to roll
afraid; the lights went out in the lift
calm; she looked at the sea in the evening
homesick; she smelled fresh bread from the bakery
surprised; all her friends jumped out from behind the sofa
disappointed; the concert was cancelled at the last minute
tired; she had carried boxes up five floors
curious; she found a locked box in the attic
hopeful; the first green leaves showed in the garden
guilty; she had forgotten her mother's birthday
impatient; the page loaded for a minute
confused; every sign pointed in another direction
in love; she read the letter for the tenth time
"""

# who, what they are known for, when they lived
PEOPLE = """
Johannes Gutenberg; printing with movable type; in the fifteenth century
Leonardo da Vinci; the Mona Lisa and his notebooks of machines; in the Renaissance
Nicolaus Copernicus; putting the Sun in the middle; in the sixteenth century
Galileo Galilei; the moons of Jupiter and the laws of falling bodies; around 1600
Johannes Kepler; the elliptical paths of planets; around 1600
Isaac Newton; gravity and the laws of motion; around 1700
Johann Sebastian Bach; fugues, cantatas and the Mass in B minor; in the baroque age
Wolfgang Amadeus Mozart; operas such as The Magic Flute; in the eighteenth century
Ludwig van Beethoven; nine symphonies, the last of which he could not hear; around 1800
Maria Sibylla Merian; pictures of insects and how they change; around 1700
James Watt; a better steam engine; in the eighteenth century
Alessandro Volta; the first battery; around 1800
Ada Lovelace; the first program for a computing machine; in the nineteenth century
Charles Darwin; the theory of evolution; in the nineteenth century
Gregor Mendel; the rules of inheritance in peas; in the nineteenth century
Louis Pasteur; showing that germs cause disease; in the nineteenth century
Florence Nightingale; modern nursing; in the nineteenth century
Dmitri Mendeleev; the periodic table; in the nineteenth century
Bertha Benz; the first long drive in a car; in the nineteenth century
Marie Curie; the discovery of radium; around 1900
Albert Einstein; the theory of relativity; in the twentieth century
Emmy Noether; the link between symmetries and conservation laws; in the twentieth century
Lise Meitner; the explanation of nuclear fission; in the twentieth century
Alexander Fleming; the discovery of penicillin; in the twentieth century
Alan Turing; the theory of computing machines; in the twentieth century
Grace Hopper; the first compilers; in the twentieth century
Rosalind Franklin; the X-ray picture of DNA; in the twentieth century
Rachel Carson; warning of pesticides; in the twentieth century
Jane Goodall; her years among chimpanzees; in the twentieth century
"""

# part of the body, what it does
BODY = """
heart; pumps blood through the body
liver; cleans the blood and makes bile
kidneys; filter water and salts out of the blood
lungs; take up oxygen and give off carbon dioxide
stomach; breaks food down with acid
small intestine; takes up what is nourishing
pancreas; makes insulin
skin; keeps germs out and feels warmth and touch
skeleton; holds the body upright
muscles; pull on bones and so move them
brain; thinks, remembers and steers the rest
spinal cord; carries signals between brain and body
eyes; turn light into signals
ears; hear, and keep the balance
tongue; tastes sweet, sour, salty and bitter
nose; smells, warms the air and catches dust
teeth; cut and grind food
tonsils; catch germs in the throat
spleen; sorts out old blood cells
bladder; stores urine
thyroid; sets the speed of the metabolism
"""

# planet, what is special, how long its year is
PLANETS = """
Mercury; the smallest planet, and the nearest to the Sun; eighty-eight days
Venus; the hottest planet, under thick clouds; two hundred and twenty-five days
Mars; a cold desert of rusty dust; nearly two of our years
Jupiter; the largest planet, with a storm that lasts for centuries; twelve of our years
Saturn; the planet with the brightest rings; twenty-nine of our years
Uranus; a planet that rolls on its side; eighty-four of our years
Neptune; the windiest planet, and the farthest; a hundred and sixty-five of our years
"""

# proverb, what it means
PROVERBS = """
The early bird catches the worm; who comes first has the best chances
Too many cooks spoil the broth; work gets worse when too many take part
Look before you leap; think about what may happen before you act
Strike while the iron is hot; use a chance while it is there
A stitch in time saves nine; repair small damage before it grows
Still waters run deep; quiet people may have strong feelings
Birds of a feather flock together; people of one kind like each other's company
Out of sight, out of mind; we forget what we do not see
When in Rome, do as the Romans do; follow the customs of the place
Rome was not built in a day; great things take time
Practice makes perfect; you get good at what you do often
Do not count your chickens before they hatch; wait for the result before you plan with it
Do not put all your eggs in one basket; spread your risks
Every cloud has a silver lining; there is something good in every trouble
Actions speak louder than words; what you do says more than what you promise
All that glitters is not gold; what looks good need not be good
Better late than never; it is good to come even when it is late
Curiosity killed the cat; asking too much can be dangerous
Easy come, easy go; what is won quickly is lost quickly
No pain, no gain; without effort nothing gets better
The apple does not fall far from the tree; children are like their parents
Where there is smoke, there is fire; rumours often have a reason
You cannot judge a book by its cover; looks do not tell what is inside
Let sleeping dogs lie; do not stir up an old quarrel
"""

# vehicle, what it is for
VEHICLES = """
tram; carries people through the city on rails in the street
underground train; runs in tunnels below the traffic
night train; has beds, and arrives in the morning
freight train; hauls containers, cars and grain over land
ferry; brings cars and passengers across the water
container ship; carries thousands of boxes between continents
icebreaker; opens a way through frozen seas
lifeboat; saves people whose ship is sinking
submarine; travels below the surface of the sea
canoe; is moved with a paddle with a single blade
helicopter; takes off straight up and can hover
glider; flies without an engine on rising air
hot-air balloon; drifts with the wind
tractor; pulls ploughs and trailers over fields
excavator; digs holes for houses and pipes
crane; lifts heavy loads to the top of buildings
fire engine; brings water, hoses and ladders
ambulance; takes sick and injured people to hospital
snow plough; clears roads in winter
cable car; brings skiers up the mountain
cargo bicycle; carries children or shopping through the city
"""

# what happens, and why
NATURE = """
A rainbow appears when sunlight is bent and reflected in drops of rain.
Thunder is the sound of air that lightning has heated in an instant.
Fog is a cloud that touches the ground.
Dew forms when the grass is colder than the air above it.
Hail grows as drops are carried up and down in a storm cloud.
A tornado is a narrow column of air that turns and reaches the ground.
Hurricanes take their energy from warm sea water.
The tides are caused mostly by the pull of the Moon.
A solar eclipse happens when the Moon passes before the Sun.
A lunar eclipse happens when the Earth's shadow falls on the Moon.
The northern lights glow where particles of the Sun hit the upper air.
Earthquakes happen where plates of the crust slip past each other.
A volcano brings molten rock from the depth to the surface.
A tsunami is a wave that an earthquake under the sea sets in motion.
Glaciers are rivers of ice that flow slowly downhill.
An avalanche starts when a layer of snow slides off another.
A delta forms where a river drops its mud at the sea.
Stalactites grow from the ceiling of caves, drop by drop.
Coral reefs are built by tiny animals over thousands of years.
Peat is made of moss that did not rot in a bog.
Leaves turn red and yellow when the green dye in them breaks down.
Trees add one ring of wood in each year.
Birds fly south in autumn because food becomes scarce.
Bears and hedgehogs sleep through the winter to save energy.
Salmon return to the river in which they hatched.
Bees dance to tell each other where flowers are.
The sky is blue because air scatters blue light more than red.
Sunsets are red because light travels a long way through the air.
Stars twinkle because their light passes through moving air.
The Milky Way is the galaxy that we see from the inside.
A year is the time of one journey of the Earth around the Sun.
Seasons come from the tilt of the Earth's axis.
Sand dunes wander because wind carries their grains over the crest.
Rivers bend because water cuts the outer bank and leaves mud at the inner one.
Mountains rise where two plates of the crust push against each other.
Fossils are traces of living things that turned to stone.
Coal was made of swamp forests under pressure and heat.
Diamonds form deep in the mantle and come up with molten rock.
Salt is left behind when sea water dries up.
Lakes turn over in autumn when their surface cools down and sinks.
Oases lie where ground water reaches the surface of the desert.
Geysers shoot up when water boils in narrow cracks.
Lichens are a fungus and an alga that live together.
Mushrooms are the fruit of threads that grow through the soil.
Caterpillars turn into butterflies inside of a cocoon.
Snakes shed their skin when they grow.
Chameleons change colour with their mood and with the light.
Fireflies glow to find each other in the dark.
"""


def rows(table: str, separator: str = ";") -> list[list[str]]:
    return [[part.strip() for part in line.split(separator)] for line in table.strip().splitlines()]


def article(word: str) -> str:
    return f"{'an' if word[0].lower() in 'aeiou' else 'a'} {word}"


def sentences() -> list[str]:
    """All of them, by their subjects."""
    made: list[str] = []
    for city, country, water, language in rows(PLACES, ","):
        made += [
            f"{city} is the capital of {country}.",
            f"The river that flows through {city} is {water}.",
            f"In {country} people speak {language}.",
        ]
    for animal, many, where, food, young in rows(ANIMALS):
        made += [
            f"The {animal} lives {where}.",
            f"{many.capitalize()} feed on {food}.",
            f"The young of {article(animal)} is called {young}.",
        ]
    for name, symbol, number, use, fact in rows(ELEMENTS):
        made += [
            f"The symbol of {name.lower()} is {symbol}, and its atomic number is {number}.",
            f"{name} is used for {use}.",
            f"{name} is {fact}.",
        ]
    for dish, country, what in rows(DISHES):
        be = "are" if dish in ("Tacos", "Empanadas", "Pierogi", "Gnocchi") else "is"
        made += [f"{dish} {be} {what}.", f"{dish} {'come' if be == 'are' else 'comes'} from {country}."]
    for who, does, tools in rows(WORKERS):
        made += [f"{article(who).capitalize()} {does}.", f"{article(who).capitalize()} works with {tools}."]
    made += [f"If {problem}, {advice}." for problem, advice in rows(PROBLEMS)]
    for sport, rule, where in rows(SPORTS):
        made += [f"In {sport} {rule}.", f"{sport.capitalize()} takes place {where}."]
    for instrument, family, how in rows(INSTRUMENTS):
        made += [f"The {instrument} is a {family} instrument.", f"You play the {instrument} by {how}."]
    for plant, begins, ripe in rows(PLANTS):
        made += [f"{plant} {be_of(plant)} {begins}.", f"The best time for {plant.lower()} is {ripe}."]
    made += [f"{word} is {meaning}." for word, meaning in rows(COMPUTING)]
    made += [f"She felt {feeling} when {when}." for feeling, when in rows(MOODS)]
    for who, known, lived in rows(PEOPLE):
        made += [f"{who} is known for {known}.", f"{who} lived {lived}."]
    made += [f"The {part} {does}." for part, does in rows(BODY)]
    for planet, special, year in rows(PLANETS):
        made += [f"{planet} is {special}.", f"A year on {planet} lasts {year}."]
    made += [f"{proverb}: {meaning}." for proverb, meaning in rows(PROVERBS)]
    made += [f"{article(vehicle).capitalize()} {does}." for vehicle, does in rows(VEHICLES)]
    made += [row[0] for row in rows(NATURE)]
    return made


def be_of(plant: str) -> str:
    return "are" if plant.endswith("s") and not plant.endswith("ss") else "is"


def main() -> int:
    made = sentences()
    assert len(made) == len(set(made)) == 1000, len(made)
    text = "\n".join(made) + "\n"
    if "--check" in sys.argv[1:]:
        return int(not FILE.is_file() or FILE.read_text(encoding="utf-8") != text)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
